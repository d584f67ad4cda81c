use super::*;

#[test]
fn a_server_starts_answers_and_leaves_nothing() {
    let scratch = Scratch::start(ScratchOptions::default()).unwrap();
    scratch.load("one", b"CREATE TABLE t (a int); INSERT INTO t VALUES (7);").unwrap();
    assert_eq!(scratch.query("one", "SELECT a FROM t").unwrap().trim(), "7");
    let e = scratch.query("one", "SELECT nothing FROM nowhere").unwrap_err();
    assert!(e.chain().contains("nowhere"), "{}", e.chain());
    let (directory, pid) = (scratch.socket_directory().to_owned(), scratch.pid());
    assert!(directory.exists());
    scratch.stop().unwrap();
    assert!(!directory.exists());
    assert!(kill(Pid::from_raw(pid.try_into().unwrap()), None).is_err(), "the server still runs");
}

#[test]
fn the_guardian_clears_up_when_nobody_else_does() {
    let mut scratch = Scratch::start(ScratchOptions::default()).unwrap();
    let directory = scratch.socket_directory().to_owned();
    // As if this process had died: only the guardian's input closes.
    let mut guardian = scratch.guardian.0.take().unwrap();
    drop(guardian.stdin.take());
    guardian.wait().unwrap();
    assert!(!directory.exists());
    scratch.server.child.wait().unwrap();
    scratch.server.stopped = true;
}

#[test]
fn a_directory_without_programs_is_refused() {
    let options = ScratchOptions { binaries: Some("/nonexistent".into()), ..Default::default() };
    let e = Scratch::start(options).unwrap_err();
    assert!(e.to_string().contains("/nonexistent"), "{e}");
}
