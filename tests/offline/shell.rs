//! What the program tells shells and `man` of its own command line.

use std::{fs, process::Command};

use crate::common::{Party, names};

#[test]
fn bash_completes_commands_and_flags() {
    let party = Party::new();
    let script = party.run(&["completions", "bash"]).done().stdout;
    party.write("regenesis.bash", script);
    let complete = |words: &str, at: usize| {
        let asked = format!(
            "source regenesis.bash; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _regenesis regenesis \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &asked]).current_dir(party.path(".")).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("regenesis publ", 1).trim(), "publish");
    assert_eq!(complete("regenesis snapshot cre", 2).trim(), "create");
    assert_eq!(complete("regenesis join --ticket-f", 2).trim(), "--ticket-file");
    for shell in ["zsh", "fish"] {
        let script = party.run(&["completions", shell]).done().stdout;
        assert!(script.contains("publish") && script.contains("upload-limit"), "{shell}");
    }
    assert_eq!(party.run(&["completions", "tcsh"]).code, 2);
}

#[test]
fn manual_pages_of_all_commands_are_written_and_are_the_same_each_time() {
    let party = Party::new();
    party.run(&["man", "one"]).done();
    party.run(&["man", "two"]).done();
    let written = names(&party.path("one"));
    for name in ["regenesis.1", "regenesis-publish.1", "regenesis-snapshot-create.1", "regenesis-config-show.1"] {
        assert!(written.iter().any(|page| page == name), "{written:?}");
    }
    for page in &written {
        let text = fs::read(party.path("one").join(page)).unwrap();
        assert_eq!(text, fs::read(party.path("two").join(page)).unwrap(), "{page}");
        assert!(text.starts_with(b".ie") || text.starts_with(b".TH"), "{page}");
    }
    assert!(party.run(&["man"]).done().stdout.contains(".TH regenesis 1"));
}
