//! Real nodes on loopback, and members and strangers that do what they must not. No fixed ports, one outer time limit.

mod access;
mod faults;
mod fetching;
mod floods;
mod hostile;
mod limits;
mod pieces;
mod sources;
mod strangers;
mod world;
