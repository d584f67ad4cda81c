use std::fs;

use kwil_formats::formats::Family;

use crate::common::{Party, data};

#[test]
fn show_says_everything_that_the_genesis_says() {
    let party = Party::new();
    party.take_kwils_recording(Family::V010, "new");
    let text = party.run(&["genesis", "show", "new/genesis.json"]).done().stdout;
    for part in [
        "network         kwil-testnet (v0.10)",
        "initial height  0 (the first block is 1)",
        "58256e864b6f773f6b2909a61fef5d1be10b9ae67ebd0310d6dde8bf7582a504 (hex)",
        "WCVuhktvdz9rKQmmH+9dG+ELmuZ+vQMQ1t3ov3WCpQQ= (base64)",
        "owner           0xCFf807f14090941AcD9535a23E03c2C8926C1F04",
        "4 validators with power 4",
        "power 1 (25.0%)",
        "  leader",
        "max_block_size          6291456",
        "join_expiry             \"168h0m0s\"",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let shown = party.run(&["genesis", "show", "new", "--output", "json"]).result();
    assert_eq!(shown["state_hash"]["base64"], "WCVuhktvdz9rKQmmH+9dG+ELmuZ+vQMQ1t3ov3WCpQQ=");
    assert_eq!(shown["total_power"], 4);
    let validators = shown["validators"].as_array().unwrap();
    assert_eq!(validators.iter().filter(|v| v["leader"] == true).count(), 1);
    let sum: f64 = validators.iter().map(|v| v["share"].as_f64().unwrap()).sum();
    assert!((sum - 100.0).abs() < 1e-9, "{sum}");
    let halt = data("v0.9/worlds/quartet/genesis.with-halt.json");
    let text = party.run(&["genesis", "show", halt.to_str().unwrap()]).done().stdout;
    for part in [
        "begins          2026-",
        "fork halt at height",
        "validator-0",
        "consensus_params.block.max_bytes",
        "balances added",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_file_that_kwild_would_not_read_is_sent_to_lint() {
    let party = Party::new();
    let text = fs::read_to_string(data("v0.10/worlds/quartet/kwild-snapshot/genesis.json")).unwrap();
    party.write("g.json", text.replace("\"power\": 1", "\"power\": \"1\""));
    let ran = party.run(&["genesis", "show", "g.json"]);
    ran.failed(3, &["g.json cannot be read", "validators[0].power", "regenesis genesis lint g.json"]);
    party.run(&["genesis", "show", "none.json"]).failed_with_io();
}

impl crate::common::Run {
    /// A file that is not there: exit 1, by its name.
    #[track_caller]
    fn failed_with_io(&self) {
        assert!(self.code == 1 && self.stdout.is_empty() && self.stderr.contains("none.json"), "{self:?}");
    }
}
