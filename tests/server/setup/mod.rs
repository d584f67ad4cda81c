//! The guard, `setup restore --dry-run`, `publish --rehearse` and `setup confirm` with the real binary on a real server. The databases
//! that are confirmed are real kwild's own, three blocks after it started on a recorded snapshot.

mod confirm;
mod guard;
mod restore;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other database has.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The flags that lead to a database of the server.
fn flags(dbname: &str) -> Vec<String> {
    let port = crate::common::server().port().to_string();
    ["--host", "127.0.0.1", "--port", &port, "--user", "postgres", "--dbname", dbname].map(str::to_owned).to_vec()
}

fn with<'a>(args: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    args.iter().copied().chain(more.iter().map(String::as_str)).collect()
}
