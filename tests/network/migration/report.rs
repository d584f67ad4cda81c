//! A run that is over, told from the logs that its real nodes have kept.

use std::{fs, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::resume::large;
use crate::common::Party;

/// Larger than the genesis of these tests, which comes with the manifest.
const GENESIS_SIZE_BYTES_MAX: u64 = 64 << 10;

fn numbers<'a>(report: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    report[name].as_array().unwrap().iter()
}

#[test]
fn a_run_is_told_from_the_logs_of_its_nodes_on_one_line_of_time() {
    let (lead, publish, ticket) = large();
    let fetched: Vec<Party> = (0..2).map(|_| Party::new()).collect();
    for party in &fetched {
        party.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "none"]).finish().done();
    }
    publish.stop(Signal::SIGINT);
    let log = lead.path("snaps/.regenesis/run.log");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let secrets =
        [&ticket[..], "127.0.0.1", "/ip4/", "secret", lead.path("snaps").to_str().unwrap()].map(str::to_owned);
    for log in [log.clone(), fetched[0].path("into/.regenesis/run.log")] {
        let text = fs::read_to_string(log).unwrap();
        secrets.iter().for_each(|secret| assert!(!text.contains(secret.as_str()), "{secret} in {text}"));
    }

    // What one node saw.
    let alone = lead.run(&["report", "--dir", "snaps", "--output", "json"]).result();
    assert_eq!((numbers(&alone, "nodes").count(), &alone["transfer"]["fetched"]), (3, &2.into()), "{alone}");

    // What all of them saw.
    let dirs: Vec<String> =
        (fetched.iter().map(|party| party.path("into"))).map(|path| path.to_str().unwrap().to_owned()).collect();
    let all = ["report", "--dir", "snaps", "--dir", &dirs[0], &dirs[1]];
    let report = lead.run(&[&all[..], &["--output", "json", "-o", "report.html"]].concat()).result();
    let transfer = &report["transfer"];
    assert_eq!((&transfer["fetched"], &transfer["complete"]), (&2.into(), &2.into()), "{report}");
    let size = report["size_bytes"].as_u64().unwrap();
    for node in numbers(&report, "nodes") {
        assert_eq!(node["has_log"], true, "{node}");
        let is_lead = node["role"] == "publish";
        assert_eq!((node["seed"] == true, node["finish_s"].is_null()), (is_lead, is_lead), "{node}");
        let line: Vec<f64> = node["line"].as_array().unwrap().iter().map(|point| point[1].as_f64().unwrap()).collect();
        assert!(line.is_sorted() && line.last() == Some(&1.0), "{node}");
        assert!(is_lead || node["received_bytes"].as_u64() >= Some(size - GENESIS_SIZE_BYTES_MAX), "{node}");
    }
    // The lines have shown what they carry, and so when it could have ended, unless all that was waited for is that one came late.
    assert!(transfer["bound_s"].as_f64() > Some(0.0), "{transfer}");
    match transfer["last"]["why"]["kind"] == "late" {
        true => assert!(transfer["ratio"].is_null() && transfer["limited_by"].is_null(), "{transfer}"),
        false => assert!(transfer["ratio"].as_f64() >= Some(1.0) && transfer["limited_by"].is_object(), "{transfer}"),
    }
    // One after the other, so that the lead sent everything twice: both ends say so.
    let sent: u64 = numbers(&report, "sent").map(|sent| sent["bytes"].as_u64().unwrap()).sum();
    assert!(sent >= 2 * (size - GENESIS_SIZE_BYTES_MAX), "{report}");
    // Which chunks, those who got them say: all came from the lead, and each is in one range.
    for sent in numbers(&report, "sent") {
        let parts: Vec<[u64; 3]> = (numbers(sent, "parts"))
            .map(|part| ["first", "last", "chunks"].map(|name| part[name].as_u64().unwrap()))
            .collect();
        assert!(parts.is_sorted_by(|a, b| a[1] < b[0]), "{sent}");
        let chunks: u64 = parts.iter().map(|[first, last, chunks]| *chunks.min(&(last - first + 1))).sum();
        // The genesis comes with the manifest.
        assert!(chunks + 1 >= report["chunks"].as_u64().unwrap() && sent["to_peer"].is_string(), "{sent}");
    }
    let what = |name: &str| numbers(&report, "events").filter(|event| event["what"] == name).count();
    assert_eq!((what("began"), what("ended")), (3, 3), "{report}");
    let page = fs::read_to_string(lead.path("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("default-src 'none'") && !page.contains("<script"), "{page}");

    // The simulator beside it, on lines that somebody declares.
    lead.write("links", "lead 1G 1G seed\nv1 1G 1G\nv2 1G 1G\n");
    let drilled = lead.run(&[&all[..], &["--drill", "--links", "links", "--output", "json"]].concat()).result();
    assert!(drilled["prediction"]["finish_s"].as_f64() > Some(0.0), "{drilled}");

    // A log that is no log is named with its line, and left as it is; a torn end is none.
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 20]).unwrap();
    lead.run(&["report", "--dir", "snaps"]).done();
    let broken = whole.replacen("{\"moment\"", "{\"momnet\"", 1);
    fs::write(&log, &broken).unwrap();
    lead.run(&["report", "--dir", "snaps"]).failed(3, &["run.log cannot be read", "line "]);
    assert_eq!(fs::read_to_string(&log).unwrap(), broken);
    lead.run(&["report", "--dir", "."]).failed(1, &["has no run log"]);
}
