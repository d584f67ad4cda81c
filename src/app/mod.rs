//! The use cases: each joins rooms into what one command does; prints nothing.

pub mod files;
pub mod manifest;
pub mod state;
