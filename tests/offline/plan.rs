//! What the lead posts to the validators: every command in it can be run, and what it says is what was signed.

use kwil_formats::formats::Family;
use regenesis::cli::misspelt;
use serde_json::Value;

use crate::common::{Party, data};

const AT: [&str; 5] = ["plan", "--at", "2026-12-01T18:00:00Z", "--prepare", "45m"];

/// A lead that has signed a recording; gives the ticket, which leads nowhere yet.
fn lead(family: Family) -> (Party, String) {
    let lead = Party::new();
    lead.take_recording(family, "snaps");
    let world = if family == Family::V09 { "v0.9" } else { "v0.10" };
    let old = data(&format!("{world}/worlds/quartet/genesis.original.json"));
    let sign = ["manifest", "sign", "--snapdir", "snaps", "--state-dir", "state", "--key", "lead.key", "--old-genesis"];
    let signed = lead.run(&[&sign[..], &[old.to_str().unwrap(), "--attestations", "3", "--output", "json"]].concat());
    (lead, signed.result()["ticket"].as_str().unwrap().to_owned())
}

#[test]
fn a_plan_without_a_manifest_tells_times_and_commands() {
    let party = Party::new();
    let plan = party.run(&[&AT[..], &["--size", "64M", "--peers", "3", "--up", "1G"]].concat()).done().stdout;
    for words in [
        "2026-12-01 18:00 UTC",
        "2026-12-01 18:45 UTC",
        "64.0 MiB to 3 nodes",
        "the lead reads them out",
        "The way back",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    assert_eq!(misspelt(&plan), [""; 0]);
    // Without a time, from the halt on.
    let plan = party.run(&["plan", "--size", "64M", "--family", "v0.9"]).done().stdout;
    assert!(plan.contains("halt + 0 h 30 min") && plan.contains("--app.pg-db-name kwild_new"), "{plan}");
    assert_eq!(misspelt(&plan), [""; 0]);
    assert_eq!(party.run(&["plan", "--at", "tomorrow"]).code, 2);
}

#[test]
fn a_plan_of_a_signed_manifest_has_its_words_validators_and_size() {
    for family in [Family::V09, Family::V010] {
        let (lead, ticket) = lead(family);
        lead.write("ticket.txt", &ticket);
        let shown = lead.run(&["ticket", "show", "--ticket-file", "ticket.txt", "--output", "json"]).result();
        let flags = [&AT[..], &["--dir", "snaps", "--ticket-file", "ticket.txt"]].concat();
        let plan = lead.run(&flags).done().stdout;
        for words in
            ["4 nodes", "3 validators of the old network", shown["phrase"].as_str().unwrap(), &format!("Kwil {family}")]
        {
            assert!(plan.contains(words), "{words}: {plan}");
        }
        assert_eq!(
            plan.lines().filter(|line| line.starts_with("  - ") && line.contains("  power ")).count(),
            4,
            "{plan}"
        );
        assert!(!plan.contains("regenesis1"), "the ticket is for no group: {plan}");
        assert_eq!(misspelt(&plan), [""; 0]);
        let json: Value = lead.run(&[&flags[..], &["--output", "json"]].concat()).result();
        assert!(json["fetch_s"].as_f64().unwrap() >= json["bound_s"].as_f64().unwrap(), "{json}");
        assert_eq!((&json["halt"], &json["phrase"]), (&"2026-12-01 18:00 UTC".into(), &shown["phrase"]));
        // A ticket of something else, and flags of the other family, would mislead everyone.
        let other = crate::common::change(&ticket, |ticket| {
            ticket.manifest_id = regenesis::base::Blake3Hash::from_bytes([7; 32])
        });
        lead.write("other.txt", other);
        lead.run(&["plan", "--dir", "snaps", "--ticket-file", "other.txt"]).failed(2, &["names another manifest"]);
        let wrong = if family == Family::V09 { "v0.10" } else { "v0.9" };
        lead.run(&["plan", "--dir", "snaps", "--family", wrong]).failed(2, &["the manifest is of"]);
    }
}
