//! The statement allow-list against a real server: psql does not stop at an error, and where the server refuses a COPY,
//! psql reads the rows as statements. So each table whose rows the scanner lets in must be one that the server makes.

mod definitions;
#[path = "../fuzz/mod.rs"]
mod fuzz;
mod harm;
mod psql;
mod split;

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use regenesis::{
    database::scratch::{Scratch, ScratchOptions},
    kwil::scan::{ScanError, ScanReport, StatementScanner},
};

/// The server; it ends with this process.
fn server() -> &'static Scratch {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    SERVER.get_or_init(|| Scratch::start(ScratchOptions::default()).unwrap())
}

/// A database as kwild v0.9 hands it to psql: empty but for its domain.
fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server().create_database(&name).unwrap();
    let domain = "CREATE DOMAIN public.uint256 AS numeric(78,0) CHECK (VALUE >= 0) CHECK (scale(VALUE) = 0)";
    server().query(&name, domain).unwrap();
    name
}

fn scan(text: &str) -> Result<ScanReport, ScanError> {
    let mut scanner = StatementScanner::new();
    scanner.push(text.as_bytes())?;
    scanner.finish()
}
