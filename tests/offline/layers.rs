//! Reads the sources and fails where a room names what it must not: who may know libp2p, Postgres, clap, the generated
//! messages, the clock, rename and fsync; which rooms are pure; which room may call which (the table in `src/lib.rs`).

mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use source::Source;

/// Each room and the rooms it may name. Those under `kwil/` are a package of its own, which every other room may name.
const ROOMS: [(&str, &[&str]); 15] = [
    ("kwil/base", &[]),
    ("kwil/formats", &["kwil/base"]),
    ("kwil/dump", &["kwil/base", "kwil/formats"]),
    ("kwil/judge", &["kwil/base", "kwil/formats", "kwil/dump"]),
    ("base", &[]),
    ("manifest", &["base"]),
    ("schedule", &["base", "manifest"]),
    ("database", &["base", "manifest"]),
    ("snapshot", &["base", "manifest", "database"]),
    ("store", &["base", "manifest"]),
    ("bundle", &["base", "manifest", "store"]),
    ("swarm", &["base", "manifest", "schedule", "store"]),
    ("setup", &["base", "manifest", "snapshot"]),
    ("app", &["base", "manifest", "schedule", "database", "snapshot", "store", "bundle", "swarm", "setup"]),
    ("cli", &["base", "manifest", "database", "snapshot", "store", "bundle", "swarm", "setup", "app"]),
];

/// The package of the pure rooms that know Kwil.
const KWIL: &str = "kwil/";

/// Rooms without IO, clock, threads, async or randomness of their own.
const PURE: [&str; 6] = ["kwil/base", "kwil/formats", "kwil/dump", "kwil/judge", "manifest", "schedule"];

/// Paths that only some places may name: the path's beginning, and who may (a room, or a file).
const OWNED: [(&str, &[&str]); 31] = [
    ("libp2p", &["swarm/"]),
    ("libp2p_stream", &["swarm/"]),
    ("mainline", &["swarm/"]),
    ("tokio_postgres", &["database/"]),
    ("postgres_protocol", &["database/"]),
    ("hyper", &["app/page.rs", "app/page/"]),
    ("hyper_util", &["app/page.rs", "app/page/"]),
    ("http_body_util", &["app/page.rs", "app/page/"]),
    ("reed_solomon_simd", &["bundle/parity/code.rs"]),
    ("qrcode", &["bundle/missing/qr.rs"]),
    ("png", &["bundle/missing/pixels.rs"]),
    ("age", &["bundle/seal.rs", "bundle/seal/"]),
    ("chacha20", &["bundle/seal.rs", "swarm/dht.rs"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/completions.rs"]),
    ("clap_mangen", &["cli/man.rs"]),
    ("sd_notify", &["cli/service.rs"]),
    ("console", &["cli/"]),
    ("std::io::stdout", &["cli/"]),
    ("std::io::stderr", &["cli/"]),
    ("tokio::io::stdout", &["cli/"]),
    ("tokio::io::stderr", &["cli/"]),
    ("prost", &["bundle/parity/wire.rs", "bundle/wire.rs", "manifest/wire.rs", "swarm/wire.rs"]),
    ("std::fs::rename", &["base/durable.rs"]),
    ("tokio::fs::rename", &["base/durable.rs"]),
    ("nix::fcntl::renameat", &["base/durable.rs"]),
    ("nix::fcntl::renameat2", &["base/durable.rs"]),
    ("std::time::Instant::now", &["base/clock.rs"]),
    ("tokio::time::Instant::now", &["base/clock.rs"]),
    ("std::time::SystemTime::now", &["base/clock.rs"]),
    ("nix::time", &["base/clock.rs"]),
];

/// Macros that only some places may call.
const OWNED_MACROS: [(&str, &[&str]); 6] = [
    ("println", &["cli/"]),
    ("eprintln", &["cli/"]),
    ("print", &["cli/"]),
    ("eprint", &["cli/"]),
    ("dbg", &[]),
    // The generated messages come in by it.
    ("include", &["bundle/parity/wire.rs", "bundle/wire.rs", "manifest/wire.rs", "swarm/wire.rs"]),
];

/// Functions and methods that only `base/durable.rs` may call, on whatever; `durable::…` is the way for everyone else.
const DURABLE: [&str; 8] =
    ["sync_all", "sync_data", "fsync", "fdatasync", "syncfs", "sync_file_range", "persist", "persist_noclobber"];

/// What a pure room never names.
const IMPURE: [&str; 22] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "std::io::stdin",
    "tokio",
    "tokio_util",
    "futures",
    "nix",
    "tempfile",
    "getrandom",
    "rand::rng",
    "rand::thread_rng",
    "rand::random",
    "rand::rngs::OsRng",
    "rand::rngs::ThreadRng",
    "crate::base::clock",
    "crate::base::durable",
    "crate::base::files",
    "crate::base::task",
];

/// Methods and functions that read clock or randomness whatever they are called on.
const IMPURE_NAMES: [&str; 6] = ["elapsed", "OsRng", "ThreadRng", "thread_rng", "from_os_rng", "from_entropy"];

/// The room whose texts name flags and commands of ours; all others give facts, which it puts into words.
const WORDS: &str = "cli";

/// Files that start other programs, or this one as another process: a text in them may be nothing but a flag.
const STARTS_PROGRAMS: [&str; 11] = [
    "app/check.rs",                 // kwild, pg_dump, psql
    "app/demo/gap.rs",              // this program
    "app/demo/kwild.rs",            // kwild
    "app/demo/member.rs",           // this program
    "app/demo/migrate.rs",          // this program
    "database/dump.rs",             // pg_dump
    "database/rehearsal.rs",        // psql
    "database/scratch.rs",          // initdb, psql
    "database/scratch/programs.rs", // pg_config
    "database/selection.rs",        // pg_dump
    "kwil/judge/collation.rs",      // createdb
];

/// The first words of our commands.
const COMMANDS: [&str; 20] = [
    "bundle", "clean", "demo", "drill", "evidence", "fetch", "genesis", "guide", "join", "key", "manifest", "publish",
    "relay", "report", "seed", "setup", "snapshot", "status", "ticket", "wait",
];

/// A rule that is broken, and where.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    what: String,
}

/// Checks one file by its path under `src/`.
fn check(file: &str, source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut say = |line: usize, what: String| {
        let violation = Violation { file: file.to_owned(), line, what };
        if !found.contains(&violation) {
            found.push(violation);
        }
    };
    let room = room_of(file);
    let pure = PURE.contains(&room);
    let allowed =
        |owners: &[&str]| owners.iter().any(|owner| file == *owner || owner.ends_with('/') && file.starts_with(owner));
    for path in &source.paths {
        let full = path.segments.join("::");
        for (owned, owners) in OWNED {
            if names(&full, owned) && !allowed(owners) {
                say(path.line, format!("{owned} belongs to {}", owners.join(" and ")));
            }
        }
        if pure {
            for impure in IMPURE {
                if names(&full, impure) {
                    say(path.line, format!("{room} is pure: no {impure}"));
                }
            }
        }
        if let Some(what) = wrong_room(room, &path.segments) {
            say(path.line, what);
        }
    }
    let argument = |text: &str| STARTS_PROGRAMS.contains(&file) && is_flag(text);
    for text in source.texts.iter().filter(|text| !room.is_empty() && room != WORDS && names_a_command(&text.text)) {
        if !argument(&text.text) {
            say(text.line, format!("{room} names a flag or a command: {:?}", text.text));
        }
    }
    for (i, token) in source.tokens.iter().enumerate() {
        let text = |n: usize| source.tokens.get(n).map_or("", |t| t.text.as_str());
        let name = token.text.as_str();
        let call = text(i + 1) == "(";
        let before = if i > 0 { text(i - 1) } else { "" };
        for (owned, owners) in OWNED_MACROS {
            if name == owned && text(i + 1) == "!" && text(i + 2) != "=" && !allowed(owners) {
                say(token.line, format!("{owned}! is not for this place"));
            }
        }
        let through_durable = i > 2 && before == ":" && text(i - 3) == "durable";
        let definition = before == "fn";
        if DURABLE.contains(&name) && call && !through_durable && !definition && file != "base/durable.rs" {
            say(token.line, format!("{name} belongs to base/durable.rs"));
        }
        if pure && IMPURE_NAMES.contains(&name) && !definition {
            say(token.line, format!("{room} is pure: no {name}"));
        }
    }
    found
}

/// Whether a text is one flag and nothing else, as the arguments of a process are.
fn is_flag(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'.')))
}

/// Whether a text has `--flag` in it, or `regenesis` and one of its commands. The command line of another program that it
/// begins with is none of ours.
fn names_a_command(text: &str) -> bool {
    if text.starts_with("kwild ") {
        return false;
    }
    let after =
        |word: &str| text.match_indices(word).map(move |(at, word)| &text[at + word.len()..]).collect::<Vec<_>>();
    let is_command =
        |rest: &&str| COMMANDS.contains(&rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or(""));
    after("--").iter().any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        || after("regenesis ").iter().any(is_command)
}

/// The room a file belongs to; empty for `lib.rs` and `main.rs`.
fn room_of(file: &str) -> &str {
    let package = package_of(file);
    file[package.len()..].find('/').map_or("", |end| &file[..package.len() + end])
}

/// Where the sources of the file's package begin: `kwil/`, or nothing for the program itself.
fn package_of(file: &str) -> &str {
    if file.starts_with(KWIL) { KWIL } else { "" }
}

/// Whether a path is, lies under, or by its glob takes in `what`.
fn names(path: &str, what: &str) -> bool {
    if let Some(parent) = path.strip_suffix("::*") {
        return what == parent || what.starts_with(&format!("{parent}::")) || parent.starts_with(&format!("{what}::"));
    }
    path == what || path.starts_with(&format!("{what}::"))
}

fn wrong_room(room: &str, segments: &[String]) -> Option<String> {
    let [first, called, ..] = segments else { return None };
    if first == "kwil_formats" && room == "base" && called != "base" {
        return Some(format!("{room} knows nothing of Kwil"));
    }
    let called = format!("{}{called}", package_of(room));
    // lib.rs makes the rooms; main.rs starts the command line.
    if first != "crate" || room.is_empty() || called == room {
        return None;
    }
    let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return Some(format!("{room} is no room of the table in tests/offline/layers.rs"));
    };
    if may.contains(&called.as_str()) {
        None
    } else if ROOMS.iter().any(|(name, _)| *name == called) {
        Some(format!("{room} may not name {called}"))
    } else {
        Some(format!("crate::{called} is no room: name rooms by their own path"))
    }
}

/// The modules of a file: `a/b.rs` and `a/b/mod.rs` are `a::b`.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = &stem[package_of(file).len()..];
    let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod")) || matches!(stem, "lib" | "main") {
        module.pop();
    }
    module
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn no_room_names_what_it_must_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&root, &mut paths);
    paths.sort();
    let files: Vec<(String, Source)> = paths
        .iter()
        .map(|path| {
            let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let source = source::read(&fs::read_to_string(path).unwrap(), &module_of(&file));
            (file, source)
        })
        .collect();
    let test_modules: BTreeSet<(&str, Vec<String>)> = files
        .iter()
        .flat_map(|(file, source)| {
            let module = move |name: &String| module_of(file).into_iter().chain([name.clone()]).collect();
            source.test_modules.iter().map(move |name| (package_of(file), module(name)))
        })
        .collect();
    let is_test = |file: &str| {
        test_modules.iter().any(|(package, module)| *package == package_of(file) && module_of(file).starts_with(module))
    };
    let mut seen = BTreeSet::new();
    let mut violations = Vec::new();
    for (file, source) in files.iter().filter(|(file, _)| !is_test(file)) {
        seen.insert(room_of(file).to_owned());
        violations.extend(check(file, source));
    }
    for (room, _) in ROOMS {
        assert!(seen.contains(room), "src/{room} is gone: the table in tests/offline/layers.rs is old");
    }
    let lines: Vec<String> = violations.iter().map(|v| format!("src/{}:{}: {}", v.file, v.line, v.what)).collect();
    assert!(lines.is_empty(), "wrong imports:\n{}", lines.join("\n"));
}

/// The checker itself, on small hostile sources.
mod checker {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<(usize, String)> {
        check(file, &source::read(text, &module_of(file))).into_iter().map(|v| (v.line, v.what)).collect()
    }

    #[track_caller]
    fn refused(file: &str, text: &str, line: usize, what: &str) {
        let found = found(file, text);
        assert!(found.iter().any(|(l, w)| *l == line && w.contains(what)), "{file}: {text}\nfound only {found:?}");
    }

    #[track_caller]
    fn passes(file: &str, text: &str) {
        assert_eq!(found(file, text), [], "{file}: {text}");
    }

    #[test]
    fn libraries_belong_to_their_rooms() {
        for (text, owner, stranger, what) in [
            ("use libp2p::PeerId;", "swarm/mod.rs", "store/mod.rs", "libp2p"),
            ("use ::libp2p as net;", "swarm/a.rs", "app/node.rs", "libp2p"),
            ("fn f() { libp2p_stream::new(); }", "swarm/a.rs", "cli/mod.rs", "libp2p_stream"),
            (
                "use {std::io, tokio_postgres::{self as pg, Client}};",
                "database/mod.rs",
                "snapshot/a.rs",
                "tokio_postgres",
            ),
            ("#[derive(clap::Args)] struct A;", "cli/a.rs", "app/a.rs", "clap"),
            ("use hyper::Request;", "app/page/answer.rs", "app/status.rs", "hyper"),
            ("use http_body_util::Full;", "app/page.rs", "swarm/mod.rs", "http_body_util"),
            ("use prost::Message as _;", "manifest/wire.rs", "manifest/mod.rs", "prost"),
            ("fn f() { std::io::stderr(); }", "cli/a.rs", "swarm/a.rs", "stderr"),
            ("use std::io; fn f() { io::stdout(); }", "cli/a.rs", "app/a.rs", "stdout"),
            ("fn f() { eprintln!(\"x\"); }", "cli/a.rs", "setup/a.rs", "eprintln!"),
            ("include!(concat!(env!(\"OUT_DIR\"), \"/x.rs\"));", "swarm/wire.rs", "swarm/mod.rs", "include!"),
        ] {
            passes(owner, text);
            refused(stranger, text, 1, what);
        }
        refused("swarm/session.rs", "fn f(m: &impl prost::Message) {}", 1, "prost");
    }

    #[test]
    fn rename_and_sync_are_found_under_every_name() {
        for text in [
            "fn f() { std::fs::rename(a, b); }",
            "use std::fs; fn f() { fs::rename(a, b); }",
            "use std::fs as disk; fn f() { disk::rename(a, b); }",
            "use std::{io, fs::{File, rename as move_it}};",
            "use std as s; use s::fs as f; fn g() { f::rename(a, b); }",
            "use std::fs::*;",
            "fn f() { file.sync_all(); }",
            "fn f() { File::sync_data(&file); }",
            "use nix::unistd::fsync; fn f() { fsync(fd); }",
            "fn f() { temporary.persist(path); }",
        ] {
            refused("store/disk.rs", text, 1, "base/durable.rs");
            passes("base/durable.rs", text);
        }
        passes("store/disk.rs", "use crate::base::durable; fn f() { durable::rename(a, b); durable::sync_data(f); }");
    }

    #[test]
    fn the_clock_is_read_in_one_place() {
        for text in [
            "fn f() { std::time::Instant::now(); }",
            "use std::time::{Duration, Instant as Watch}; fn f() { Watch::now(); }",
            "use std::time; fn f() { time::SystemTime::now(); }",
            "use tokio::time::Instant; fn f() { let now = Instant::now; }",
        ] {
            refused("swarm/driver.rs", text, 1, "base/clock.rs");
            passes("base/clock.rs", text);
        }
        passes("swarm/driver.rs", "use std::time::Instant; struct S { at: Instant }");
    }

    #[test]
    fn pure_rooms_touch_nothing() {
        for text in [
            "use std::fs::File;",
            "use std::{collections::BTreeMap, net::IpAddr};",
            "fn f() { std::process::exit(1) }",
            "fn f() { std::env::var(NAME); }",
            "fn f() { tokio::spawn(x); }",
            "#[tokio::main] fn f() {}",
            "use std::*;",
            "use crate::base::clock;",
            "use crate::base::{Error, clock::now};",
            "use crate::base; fn f() { base::clock::now(); }",
            "fn f() { rand::rng().fill(b); }",
            "use rand::{Rng, rngs::OsRng};",
            "use ed25519_dalek::ed25519::OsRng as Source;",
            "fn f() { rand::thread_rng(); }",
            "fn f(at: Instant) { at.elapsed(); }",
            "use std::thread; fn f() { thread::sleep(d); }",
        ] {
            for room in PURE {
                refused(&format!("{room}/a.rs"), text, 1, "is pure");
            }
        }
        passes(
            "schedule/sim.rs",
            "fn f(rng: &mut rand_chacha::ChaCha8Rng, seed: u64) { rand::rngs::StdRng::seed_from_u64(seed); }",
        );
        passes("kwil/formats/key.rs", "use std::{fmt, collections::BTreeMap}; use crate::base::Error;");
    }

    #[test]
    fn rooms_call_only_downwards() {
        for (file, text, called) in [
            ("kwil/base/a.rs", "use crate::formats::Family;", "kwil/formats"),
            ("kwil/formats/a.rs", "use crate::{base::Error, dump::scan};", "kwil/dump"),
            ("kwil/dump/deep/a.rs", "use super::super::super::judge;", "kwil/judge"),
            ("schedule/mod.rs", "fn f() { super::store::open(); }", "store"),
            ("database/a.rs", "use crate::{base::Error, swarm::Node};", "swarm"),
            ("snapshot/mod.rs", "use crate::setup::plan;", "setup"),
            ("store/a.rs", "fn f(n: &crate::swarm::Node) {}", "swarm"),
            ("swarm/a.rs", "mod inner { use super::super::super::database; }", "database"),
            ("swarm/a.rs", "use crate::{\n snapshot::{self}};", "snapshot"),
            ("setup/a.rs", "use crate as me; fn f() { me::swarm::go(); }", "swarm"),
            ("setup/a.rs", "use crate::database::Settings;", "database"),
            ("app/a.rs", "use crate::cli::Session;", "cli"),
            ("store/a.rs", "pub(crate) use crate::app::*;", "app"),
        ] {
            let line = 1 + text.matches('\n').count();
            refused(file, text, line, &format!("may not name {called}"));
        }
        refused("base/a.rs", "use kwil_formats::{base::Error, formats::Family};", 1, "knows nothing of Kwil");
        refused("kwil/formats/a.rs", "use crate::manifest;", 1, "crate::kwil/manifest is no room");
        refused("parcel/mod.rs", "use crate::base::Error;", 1, "no room of the table");
        refused("app/a.rs", "use crate::Error;", 1, "crate::Error is no room");
        passes("setup/a.rs", "use crate::{base::Result, snapshot::verify}; use super::plan;");
        passes("kwil/judge/a.rs", "use crate::{base::Error, dump::scan, formats::Family};");
        passes("store/a.rs", "use kwil_formats::formats::{Family, genesis};");
        passes("cli/a.rs", "use super::Session; use crate::app::publish;");
        passes("main.rs", "fn main() { regenesis::cli::main() }");
    }

    #[test]
    fn only_the_command_line_names_flags_and_commands() {
        for text in [
            "const A: &str = \"give another with --key\";",
            "fn f() { say(format!(\"run `regenesis join {}` again\", x)); }",
        ] {
            for (room, _) in ROOMS.iter().filter(|(room, _)| *room != WORDS) {
                refused(&format!("{room}/a.rs"), text, 1, "names a flag or a command");
            }
            passes("cli/a.rs", text);
            refused("database/dump.rs", text, 1, "names a flag or a command");
        }
        for text in
            ["fn f(c: &mut Command) { c.arg(\"--no-psqlrc\"); }", "const A: [&str; 2] = [\"--port\", \"--host\"];"]
        {
            passes("database/rehearsal.rs", text);
            refused("database/cut.rs", text, 1, "names a flag or a command");
        }
        passes("schedule/a.rs", "/// As `regenesis join --key` does.\nconst A: &str = \"/regenesis/1 -- x\";");
    }

    #[test]
    fn comments_strings_and_tests_are_not_the_product() {
        passes(
            "kwil/dump/a.rs",
            r####"
            //! libp2p, std::fs::rename
            /* use clap; /* nested */ println!() */
            const A: &str = "use libp2p; \" println!()";
            const B: &str = r##"tokio::spawn " # "##;
            const C: &[u8] = b"std::fs";
            const D: char = '"'; const E: char = '\''; const F: u8 = b'"';
            fn f<'a>(x: &'a str) -> &'a str { x }
            #[cfg(test)]
            use std::fs;
            #[cfg(test)]
            #[allow(unused)]
            mod tests { use std::fs; fn f() { println!("{}", fs::rename); } }
            #[cfg(test)]
            fn helper() -> Vec<u8> { std::fs::read("x").unwrap() }
            "####,
        );
    }

    #[test]
    fn what_follows_a_test_a_literal_or_a_comment_counts() {
        refused("kwil/dump/a.rs", "#[cfg(test)]\nuse std::{fs, io};\nuse libp2p::X;", 3, "libp2p");
        refused("kwil/dump/a.rs", "#[cfg(test)]\nmod tests { fn f() { {} } }\nuse std::fs;", 3, "std::fs");
        refused("kwil/dump/a.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;", 3, "std::fs");
        refused("kwil/dump/a.rs", "const Q: char = '\"'; use std::fs;", 1, "std::fs");
        refused("kwil/dump/a.rs", "const R: &str = r#\"a\"b\"#; use std::fs;", 1, "std::fs");
        refused("kwil/dump/a.rs", "/* a\n*/ use std::fs; // b", 2, "std::fs");
        refused("kwil/dump/a.rs", "#[cfg(not(test))]\nuse std::fs;", 2, "std::fs");
        refused("kwil/dump/a.rs", "const S: &str = \"a\n\\\\\"; use std::fs;", 2, "std::fs");
    }

    #[test]
    fn test_modules_of_their_own_file_are_known() {
        let source = source::read("#[cfg(test)]\nmod tests;\nmod product;", &module_of("kwil/dump/mod.rs"));
        assert_eq!(source.test_modules, BTreeSet::from(["tests".to_owned()]));
        assert_eq!(module_of("kwil/dump/mod.rs"), ["dump"]);
        assert_eq!(module_of("kwil/formats/genesis/v09.rs"), ["formats", "genesis", "v09"]);
        assert_eq!(module_of("setup/plan.rs"), ["setup", "plan"]);
    }
}
