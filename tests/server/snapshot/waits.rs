//! Nothing waits for ever, and nothing waits in silence: servers that fail in the middle of a table, and locks of others.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use regenesis::database::scratch::Scratch;

use super::{
    parallel::{finished, large, no_session_is_left, on, own_server, stopped_half_way},
    support::{Place, Run, database, fresh_name, program, server, wait_for},
};

const SOLO: &str = "v0.10/worlds/solo/database.sql.gz";
/// Longer than anything here takes on a busy machine; what hangs is killed, and the test fails.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs under a watchdog.
#[track_caller]
fn ends(mut command: Command) -> Run {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let (done, watch) = mpsc::channel();
    thread::spawn(move || done.send(Run::of(child.wait_with_output().unwrap())));
    watch.recv_timeout(WATCHDOG).unwrap_or_else(|_| {
        kill(pid, Signal::SIGKILL).unwrap();
        panic!("it hangs: {:?}", watch.recv())
    })
}

fn digest(place: &Place, server: &Scratch, db: &str) -> Command {
    let mut command = program(place.home.path());
    command.args(["snapshot", "digest", "--progress", "none", "--host", "127.0.0.1", "--dbname", db]);
    command.args(["--port", &server.port().to_string()]).env("PGUSER", "postgres");
    command
}

#[test]
fn a_damaged_page_ends_it_with_the_tables_name_whatever_reads_beside_it() {
    let db = database(SOLO);
    let toast = "SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'shop.customers'::regclass";
    let sql = "CREATE EXTENSION pg_surgery;
        ALTER TABLE shop.customers ALTER COLUMN extra SET STORAGE EXTERNAL;
        UPDATE shop.customers SET extra = repeat(md5(id::text), 2000) WHERE id IN (SELECT id FROM shop.customers ORDER BY id LIMIT 3);
        ALTER TABLE shop.customers ALTER COLUMN extra SET STORAGE EXTENDED;";
    server().query(&db, sql).unwrap();
    let toast = server().query(&db, toast).unwrap().trim().to_owned();
    let kill = format!(
        "SELECT heap_force_kill('{toast}'::regclass, (SELECT array[ctid] FROM {toast} ORDER BY ctid LIMIT 1 OFFSET 1));
         DROP EXTENSION pg_surgery"
    );
    server().query(&db, &kill).unwrap();
    let place = Place::new();
    let words = ["shop.customers", "chunk number", "SQLSTATE XX"];
    for jobs in ["1", "2", "3", "4", "8"] {
        ends(place.command(&db, &["--jobs", jobs])).failed(1, &words);
        place.is_untouched();
    }
    ends(digest(&place, server(), &db)).failed(1, &words);
    no_session_is_left(server(), &db);
}

#[test]
fn a_cancelled_backend_ends_it_with_the_servers_words() {
    let server = own_server();
    let db = large(&server);
    let place = Place::new();
    let mut command = on(&place, &server, &db, &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that has just sent its last row is not cancelled any more; the next one is.
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'regenesis %' AND \
                  state = 'active' AND query LIKE 'COPY (SELECT%big.rows%'";
    let ended = thread::scope(|scope| {
        let waiting = scope.spawn(move || Run::of(child.wait_with_output().unwrap()));
        while !waiting.is_finished() {
            server.query("postgres", cancel).unwrap();
        }
        waiting.join().unwrap()
    });
    ended.failed(1, &["read big.rows", "someone cancelled it", "canceling statement due to user request"]);
    place.is_untouched();
    no_session_is_left(&server, &db);
}

#[test]
fn sessions_that_are_all_terminated_end_it() {
    let server = own_server();
    let db = large(&server);
    let place = Place::new();
    let (child, pid, _) = stopped_half_way(&server, &mut on(&place, &server, &db, &[]));
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'regenesis %'";
    server.query("postgres", all).unwrap();
    // Which of the sessions is missed first is chance: one that brings rows, the cut's, or that of pg_dump's locks.
    let run = finished(child, pid);
    assert_eq!(run.code, Some(1), "{run:?}");
    let missed =
        ["terminating connection due to administrator command", "lost the connection", "consistent cut", "locks"];
    assert!(missed.iter().any(|words| run.stderr.contains(words)) && run.stderr.contains("next: "), "{run:?}");
    place.is_untouched();
    no_session_is_left(&server, &db);
}

#[test]
fn the_loss_of_the_cut_or_of_the_locks_is_seen_at_once() {
    let server = own_server();
    let db = large(&server);
    for (query, words) in [
        // The cut's session has asked for its own name last; pg_dump's for what it dumps.
        ("query LIKE '%pg_export_snapshot%' OR query LIKE '%attgenerated%'", "consistent cut"),
        (
            "query NOT LIKE '%pg_export_snapshot%' AND query NOT LIKE '%attgenerated%' AND query NOT LIKE 'COPY%'",
            "locks",
        ),
    ] {
        let place = Place::new();
        let (child, pid, _) = stopped_half_way(&server, &mut on(&place, &server, &db, &[]));
        let one = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'regenesis %' AND ({query})"
        );
        assert_eq!(server.query("postgres", &one).unwrap().trim(), "t", "{query}");
        let run = finished(child, pid);
        // A short read may be over before.
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains(words) || run.stderr.contains("end the consistent cut"), "{run:?}");
        place.is_untouched();
        no_session_is_left(&server, &db);
    }
}

/// A psql that does something and then sleeps; ended with [`Holder::end`].
struct Holder {
    child: Child,
    name: String,
}

impl Holder {
    fn new(server: &Scratch, db: &str, sql: &str) -> Self {
        let name = format!("holder {}", fresh_name());
        let mut command = Command::new(server.program("psql"));
        command.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &server.port().to_string(), "-d", db]);
        command.args(["-c", &format!("BEGIN; {sql}; SELECT pg_sleep(3600)")]).env("PGAPPNAME", &name);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let holder = Holder { child, name };
        wait_for("the lock to be held", || {
            let sql = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND wait_event = 'PgSleep'",
                holder.name
            );
            server.query("postgres", &sql).unwrap().trim() == "1"
        });
        holder
    }

    fn pid(&self, server: &Scratch) -> String {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{}'", self.name);
        server.query("postgres", &sql).unwrap().trim().to_owned()
    }

    fn end(mut self, server: &Scratch) {
        server.query("postgres", &format!("SELECT pg_terminate_backend({})", self.pid(server))).unwrap();
        self.child.wait().unwrap();
    }
}

/// The program, and what it has said so far when it first says the word.
fn until(mut command: Command, word: &str) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(word) {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "it ended without {word:?}: {said}");
    }
    (child, said, lines)
}

#[test]
fn a_lock_of_somebody_else_is_told_with_pid_and_query_and_waited_for() {
    let server = own_server();
    for table in ["shop.orders", "kwild_chain.chain"] {
        let db = fresh_name();
        server.load(&db, &super::support::read(SOLO)).unwrap();
        let place = Place::new();
        let holder = Holder::new(&server, &db, &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"));
        let (mut child, said, mut rest) = until(on(&place, &server, &db, &["--progress", "plain"]), "waiting to");
        for word in [&format!("pid {}", holder.pid(&server)), table, "holder", "LOCK TABLE", "pg_terminate_backend"] {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        holder.end(&server);
        let mut said = String::new();
        rest.read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        no_session_is_left(&server, &db);
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_lock_and_nothing_is_left_on_the_server() {
    let server = own_server();
    let db = fresh_name();
    server.load(&db, &super::support::read(SOLO)).unwrap();
    let place = Place::new();
    let holder = Holder::new(&server, &db, "LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE");
    let (mut child, ..) = until(on(&place, &server, &db, &["--progress", "plain"]), "waiting to");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    place.is_untouched();
    // The lock is still held: the server has to see by itself that we are gone, which it does from 14 on.
    wait_for("our sessions to end", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'regenesis %'";
        server.query("postgres", sql).unwrap().trim() == "0"
    });
    holder.end(&server);
}

#[test]
fn somebody_who_waits_for_us_while_we_wait_for_him_is_an_error() {
    let server = own_server();
    let db = fresh_name();
    server.load(&db, &super::support::read(SOLO)).unwrap();
    let place = Place::new();
    let psql = format!(
        "'{}' -X -q -t -A -h 127.0.0.1 -U postgres -p {} -d {db}",
        server.program("psql").display(),
        server.port()
    );
    // Behind pg_dump's locks, before the rows are read.
    let script = format!(
        "[ \"$1\" = --version ] && exec '{real}' \"$@\"\n'{real}' \"$@\" || exit\n\
         PGAPPNAME=late {psql} -c 'ALTER TABLE shop.orders ADD COLUMN late int' >/dev/null 2>&1 &\n\
         until [ \"$({psql} -c \"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'late' AND \
         wait_event_type = 'Lock'\")\" = 1 ]; do sleep 0.1; done",
        real = server.program("pg_dump").display()
    );
    let pg_dump = place.script("pg_dump", &script).display().to_string();
    let run = ends(on(&place, &server, &db, &["--pg-dump", &pg_dump]));
    run.failed(1, &["shop.orders", "late", "waits for us", "ALTER TABLE shop.orders"]);
    place.is_untouched();
    no_session_is_left(&server, &db);
}
