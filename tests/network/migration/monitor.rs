//! Prometheus itself, from the system's packages, looks at a run: scripts/test.sh installs it where it can.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
};

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::page::Site;
use crate::{
    common::{Party, Process},
    wait::wait_for,
};

/// What Prometheus' own checker of numbers says of them.
#[track_caller]
fn is_well_formed(metrics: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool is installed: scripts/test.sh installs it");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
}

/// A Prometheus that looks at this address each second.
fn prometheus(party: &Party, at: SocketAddr) -> (Process, Site) {
    party.write(
        "prometheus.yml",
        format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: regenesis\n    static_configs:\n      - targets: ['{at}']\n"
        ),
    );
    let mut command = Command::new("prometheus");
    let data = party.path("prometheus");
    command.arg("--config.file").arg(party.path("prometheus.yml")).arg("--storage.tsdb.path").arg(data);
    command.args(["--web.listen-address", "127.0.0.1:0"]).stdin(Stdio::null());
    let process = Process::spawn(command);
    let listens = process.wait_for("where Prometheus listens", |_, stderr| {
        let (_, rest) = stderr.split_once("msg=\"Listening on\" address=")?;
        rest.split_once('\n').map(|(line, _)| line.to_owned())
    });
    (process, Site::at(listens.trim().parse().unwrap()))
}

#[test]
fn prometheus_takes_the_numbers_and_sees_a_member_come_and_the_whole_run_complete() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let publish = lead.swarm(&["publish", "--dir", "snaps", "--key", "lead.key", "--status-addr", "127.0.0.1:0"]);
    let (ticket, site) = (publish.ticket(), Site::of(&publish));
    let (prometheus, asked) = prometheus(&lead, site.at);
    let value = |query: &str| {
        let answer = asked.get(&format!("/api/v1/query?query={query}"));
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let value = json["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().ok()?;
        Some(value)
    };
    wait_for("the first look", || value("regenesis_complete") == Some(1.0));
    assert_eq!(value("regenesis_members"), Some(0.0));
    let validator = Party::new();
    let fetch = validator.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "1h"]);
    wait_for("a member", || value("regenesis_members_complete") == Some(1.0));
    wait_for("what was sent", || value("regenesis_sent_bytes_total").is_some_and(|sent| sent > 0.0));
    assert_eq!(value("up"), Some(1.0));
    is_well_formed(&site.get("/metrics").body);
    fetch.stop(Signal::SIGTERM);
    prometheus.stop(Signal::SIGTERM);
    publish.stop(Signal::SIGTERM).done();
}
