//! Where the values of flags come from that are not typed, as the real program takes them: typed, then a variable, then the user's
//! file; and nothing from the directory in which it is started.

use std::{fs, os::unix::fs::PermissionsExt};

use regenesis::cli::misspelt;
use serde_json::Value;

use crate::common::{Party, Process};

const FILE: &str = ".config/regenesis/regenesis.toml";

/// What `drill` says of its plan, with variables.
#[track_caller]
fn drill(party: &Party, variables: &[(&str, &str)], flags: &[&str]) -> Value {
    let mut command = party.command(&[&["drill", "--size", "64M", "--output", "json"], flags].concat());
    command.envs(variables.iter().copied());
    serde_json::from_str::<Value>(&Process::spawn(command).finish().done().stdout).unwrap()["result"].clone()
}

fn peers(drilled: &Value) -> usize {
    drilled["peers"].as_array().unwrap().len()
}

#[test]
fn what_is_typed_goes_before_a_variable_and_that_before_the_file() {
    let party = Party::new();
    assert_eq!(peers(&drill(&party, &[], &[])), 4);
    party.write(FILE, "[drill]\npeers = 3\n");
    assert_eq!(peers(&drill(&party, &[], &[])), 3);
    assert_eq!(peers(&drill(&party, &[("REGENESIS_PEERS", "5")], &[])), 5);
    assert_eq!(peers(&drill(&party, &[("REGENESIS_PEERS", "5")], &["--peers", "2"])), 2);
    // A named file takes the place of all others; one that is empty does without any.
    party.write("mine.toml", "[drill]\npeers = 6\n");
    assert_eq!(peers(&drill(&party, &[], &["--config", "mine.toml"])), 6);
    assert_eq!(peers(&drill(&party, &[("REGENESIS_CONFIG", "mine.toml")], &[])), 6);
    assert_eq!(peers(&drill(&party, &[], &["--config", "/dev/null"])), 4);
    let absent = party.run(&["drill", "--config", "absent.toml"]);
    assert!(absent.code == 1 && absent.stderr.contains("absent.toml"), "{absent:?}");
}

#[test]
fn the_directory_in_which_it_is_started_changes_nothing() {
    let party = Party::new();
    party.write("hostile/regenesis.toml", "[drill]\npeers = 3\n");
    party.write("hostile/.config/regenesis/regenesis.toml", "[drill]\npeers = 3\n");
    party.write("hostile/regenesis/regenesis.toml", "[drill]\npeers = 3\n");
    for variables in
        [&[][..], &[("XDG_CONFIG_HOME", ".config")], &[("XDG_CONFIG_HOME", "")], &[("HOME", ".")], &[("HOME", "")]]
    {
        let mut command = party.command(&["drill", "--size", "64M", "--output", "json"]);
        command.current_dir(party.path("hostile")).envs(variables.iter().copied());
        let said = Process::spawn(command).finish().done().stdout;
        assert_eq!(peers(&serde_json::from_str::<Value>(&said).unwrap()["result"]), 4, "{variables:?}");
    }
}

#[test]
fn a_file_that_everyone_may_write_is_refused() {
    let party = Party::new();
    party.write(FILE, "[drill]\npeers = 3\n");
    fs::set_permissions(party.path(FILE), fs::Permissions::from_mode(0o666)).unwrap();
    let refused = party.run(&["drill"]);
    assert!(refused.code == 2 && refused.stderr.contains("everyone may write"), "{refused:?}");
    assert!(refused.stderr.contains("next: take that from the others: chmod o-w "), "{refused:?}");
}

#[test]
fn what_is_wrong_in_a_file_is_told_and_nothing_runs() {
    let party = Party::new();
    party.write(FILE, "# mine\n[drill]\npears = 3\n");
    let wrong = party.run(&["drill", "--output", "json"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    let told = "regenesis.toml, line 3: there is no flag pears of drill; did you mean peers?";
    assert!(wrong.stderr.contains(told) && wrong.stdout.contains("did you mean peers?"), "{wrong:?}");
    party.write(FILE, "[publish]\npassword = \"hunter2\"\n");
    let secret = party.run(&["drill"]);
    assert!(secret.code == 2 && !secret.stderr.contains("hunter2"), "{secret:?}");
    assert!(secret.stderr.contains("line 2: password: a secret never stands in this file"), "{secret:?}");
    // Help can be read all the same.
    assert_eq!(party.run(&["drill", "--help"]).code, 0);
    party.write(FILE, vec![b'#'; (64 << 10) + 1]);
    assert_eq!(party.run(&["drill"]).code, 3);
}

#[test]
fn a_flag_that_is_typed_keeps_away_what_it_excludes_and_a_file_satisfies_what_is_required() {
    let party = Party::new();
    // `drill --links` excludes --peers.
    party.write("links", "lead 1G 1G seed\na 1G 1G\nb 1G 1G\n");
    party.write(FILE, "[drill]\npeers = 7\n");
    assert_eq!(peers(&drill(&party, &[], &["--links", "links"])), 2);
    party.write(FILE, "[drill]\nlinks = \"links\"\n");
    assert_eq!(peers(&drill(&party, &[], &[])), 2);
    assert_eq!(peers(&drill(&party, &[], &["--peers", "7"])), 7);
    party.write(FILE, "[drill]\nlinks = \"links\"\n\npeers = 7\n");
    let both = party.run(&["drill"]);
    assert!(both.code == 2 && both.stderr.contains("line 4) cannot be given together with links ("), "{both:?}");
    // `seed` must have a directory.
    assert_eq!(party.run(&["seed"]).code, 2);
    party.write(FILE, "[seed]\ndir = \"~/nothing\"\n");
    let seed = party.run(&["seed"]);
    assert!(seed.code == 1 && seed.stderr.contains(party.path("nothing").to_str().unwrap()), "{seed:?}");
}

#[test]
fn config_show_tells_each_value_and_its_source_and_no_secret() {
    let party = Party::new();
    party.write(
        FILE,
        "color = \"never\"\n[swarm]\nupload-limit = \"100M\"\n[join]\nwait = \"quorum\"\nupload-limit = \"50M\"\n",
    );
    let show = |command: &[&str]| {
        let mut command = party.command(&[&["config", "show", "--output", "json"], command].concat());
        command.envs([("REGENESIS_TICKET", "regenesis1secret"), ("REGENESIS_MAX_PEERS", "9")]);
        let said = Process::spawn(command).finish().done().stdout;
        assert!(!said.contains("regenesis1secret"), "{said}");
        serde_json::from_str::<Value>(&said).unwrap()["result"].clone()
    };
    let of_join = show(&["join"]);
    let file = party.path(FILE).display().to_string();
    for (flag, value, source) in [
        ("upload-limit", Some("50M"), format!("{file}, line 6")),
        ("wait", Some("quorum"), format!("{file}, line 5")),
        ("color", Some("never"), format!("{file}, line 1")),
        ("max-peers", Some("9"), "variable REGENESIS_MAX_PEERS".to_owned()),
        ("ticket", Some("…"), "variable REGENESIS_TICKET".to_owned()),
        ("linger", Some("10m"), "default".to_owned()),
        ("listen", None, "not set".to_owned()),
    ] {
        let rows = of_join["values"].as_array().unwrap();
        let row = rows.iter().find(|row| row["flag"] == flag).unwrap_or_else(|| panic!("no {flag} in {of_join}"));
        assert_eq!((row["value"].as_str(), row["source"].as_str().unwrap()), (value, source.as_str()), "{flag}");
    }
    // What it says a command takes is what the command takes.
    assert_eq!(show(&["seed"])["values"].as_array().unwrap().iter().filter(|row| row["value"] == "100M").count(), 1);
    // Who only asks has its own port and no page.
    assert_eq!(show(&["wait"])["values"].as_array().unwrap().iter().filter(|row| row["value"] == "100M").count(), 0);
    let all = show(&[]);
    assert_eq!(all["files"][0]["is_there"], true);
    assert_eq!(all["values"].as_array().unwrap().len(), 6, "{all}");
    assert_eq!(party.run(&["config", "show", "jion"]).code, 2);
    assert!(misspelt(&party.run(&["config", "show", "--help"]).done().stdout).is_empty());
}
