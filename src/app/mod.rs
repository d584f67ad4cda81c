//! The use cases: each joins rooms into what one command does; prints nothing.

pub mod setup;
