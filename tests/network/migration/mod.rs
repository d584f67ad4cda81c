//! The whole way with real processes, real Postgres and real sockets, and what bad input gets on it.

mod edits;
mod lead;
mod peers;
mod preflight;
mod resume;
mod roots;
mod strangers;
mod whole;
