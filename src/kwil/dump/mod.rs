//! A dump of a Kwil database as text: its statements and rows, what of it belongs into a snapshot, what a restore may run,
//! and what its state is, whatever wrote it. See [`guard`], [`scan`] and [`digest`].

pub mod digest;
pub mod filter;
pub mod guard;
pub mod row_length;
pub mod scan;
pub mod splice;
pub(crate) mod sql;
pub(crate) mod token;
pub(crate) mod tree;
