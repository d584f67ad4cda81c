//! Removable media: the same manifest and chunks on volumes that are carried where no wire goes.

pub mod missing;
pub mod parity;
