//! The status page, its JSON and its numbers, asked as browsers, monitors and strangers ask.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{LOOPBACK, Party, Process, gzip};

/// Longer than anything takes on a busy machine; only a hang gets here.
const LIMIT: Duration = Duration::from_secs(120);

/// What a page is asked with.
pub(super) struct Site {
    pub(super) at: SocketAddr,
    query: String,
}

pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Site {
    /// Where a process says that its page is.
    #[track_caller]
    pub(super) fn of(process: &Process) -> Self {
        let address = process.wait_for("its page", |_, stderr| {
            let (_, rest) = stderr.split_once("its status page: ")?;
            rest.split_once('\n').map(|(line, _)| line.to_owned())
        });
        let (place, query) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        Site { at: place.parse().unwrap(), query: query.to_owned() }
    }

    /// Another program's, which speaks HTTP as well.
    pub(super) fn at(at: SocketAddr) -> Self {
        Site { at, query: String::new() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends a request as it stands, and reads the answer to its end.
    fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // Who is cut off in the middle of a request may see a reset.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { code, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get_as(&self, path: &str, host: &str, more: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"))
    }

    /// With the token of its address, where there is one.
    pub(super) fn get(&self, path: &str) -> Answer {
        let query = if self.query.is_empty() { String::new() } else { self.query.clone() };
        self.get_as(&format!("{path}{query}"), &self.at.to_string(), "")
    }

    pub(super) fn status(&self) -> Value {
        let answer = self.get("/api/v1/status");
        assert_eq!(answer.code, 200, "{}", answer.head);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub(super) fn events(&self) -> Events {
        let mut stream = self.connect();
        write!(stream, "GET /api/v1/events{} HTTP/1.1\r\nHost: {}\r\n\r\n", self.query, self.at).unwrap();
        Events(BufReader::new(stream))
    }
}

pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event: its name and what it says.
    #[track_caller]
    fn next(&mut self) -> (String, Value) {
        self.next_or_end().expect("the stream goes on")
    }

    /// The last that was heard of each of a status' parts when the stream ended.
    pub(super) fn until_the_end(&mut self) -> Value {
        let mut status = serde_json::Map::new();
        while let Some((_, told)) = self.next_or_end() {
            status.extend(told.as_object().unwrap().clone());
        }
        status.into()
    }

    fn next_or_end(&mut self) -> Option<(String, Value)> {
        let (mut name, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(told) = line.strip_prefix("event: ") {
                name = told.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data.trim()).unwrap()));
            }
        }
    }
}

#[test]
fn a_page_its_numbers_and_its_events_are_told_to_this_machine_and_to_no_other_sites_script() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let args = ["publish", "--dir", "snaps", "--key", "lead.key", "--status-addr", "127.0.0.1:0"];
    let publish = lead.swarm(&args);
    let (ticket, site) = (publish.ticket(), Site::of(&publish));
    let page = site.get("/");
    assert!(page.code == 200 && page.body.contains("<title>regenesis</title>"), "{}", page.head);
    assert!(gzip(page.body.as_bytes()).len() < 60_000, "a page is loaded at once, also over a telephone");
    // Nothing runs in it but what its policy names, and everything is in it.
    for words in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"] {
        assert!(page.head.contains(words), "{}", page.head);
    }
    for outside in ["src=\"", "http:", "https:", "@import", "innerHTML", "onclick"] {
        assert!(!page.body.contains(outside), "{outside}");
    }
    let mut events = site.events();
    let (name, first) = events.next();
    assert_eq!((name.as_str(), &first["version"], &first["node"]["role"]), ("status", &1.into(), &"publish".into()));
    let validator = Party::new();
    let fetch = validator.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "1h"]);
    loop {
        let (name, change) = events.next();
        assert_eq!(name, "change");
        let members = change["members"].as_object();
        if members.is_some_and(|members| members.values().any(|member| member["chunks"].as_u64() > Some(0))) {
            break;
        }
    }
    let status = site.status();
    assert_eq!((&status["version"], status["members"].as_array().unwrap().len()), (&1.into(), 1), "{status}");
    assert!(status["next"].is_string() && status["estimate"]["limit"]["words"].is_string(), "{status}");
    let metrics = site.get("/metrics");
    assert!(
        metrics.body.contains("\nregenesis_members 1\n") && metrics.head.contains("version=0.0.4"),
        "{}",
        metrics.body
    );
    assert_eq!((site.get("/healthz").code, site.get("/readyz").code), (200, 200));
    assert_eq!(site.get("/../../etc/passwd").code, 404);
    let host = site.at.to_string();
    assert_eq!(site.send(&format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc")).code, 405);
    assert_eq!(site.get_as("/api/v1/status", "localhost", "").code, 200);
    // A name that leads here today and may lead elsewhere tomorrow is how other sites' scripts would read it.
    for stranger in ["evil.example", "evil.example:9184", "127.0.0.1.evil.example", ""] {
        assert_eq!(site.get_as("/api/v1/status", stranger, "").code, 421, "{stranger}");
    }
    assert_eq!(site.send("GET / HTTP/1.0\r\n\r\n").code, 421);
    // Nor by a second name.
    for second in ["evil.example", "127.0.0.1"] {
        assert_eq!(site.get_as("/api/v1/status", &host, &format!("Host: {second}\r\n")).code, 421, "{second}");
        assert_eq!(site.get_as("/api/v1/status", second, &format!("Host: {host}\r\n")).code, 421, "{second}");
    }
    assert_eq!(site.get_as("http://evil.example/api/v1/status", &host, "").code, 421);
    assert_eq!(site.get_as(&format!("http://{host}/api/v1/status"), &host, "").code, 200);
    // What is sent behind the first request is not read, and what is only asked about has no body.
    let one = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(site.send(&one.repeat(3)).body, "ok\n");
    let head = site.send(&format!("HEAD /api/v1/status HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!((head.code, head.body.as_str()), (200, ""));
    for method in ["OPTIONS", "PUT", "TRACE", "CONNECT"] {
        let refused = site
            .send(&format!("{method} /api/v1/status HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n"));
        assert!(refused.code >= 400 && !refused.head.contains("access-control"), "{method}: {}", refused.head);
    }
    // Nothing secret is in any answer.
    let secret = hex::encode(lead.read("snaps/.regenesis/secret"));
    let key = String::from_utf8(lead.read("lead.key")).unwrap();
    let key: Value = serde_json::from_str(&key).unwrap();
    for path in ["/", "/api/v1/status", "/metrics", "/healthz", "/readyz", "/nowhere"] {
        let Answer { head, body, .. } = site.get(path);
        for hidden in [ticket.as_str(), "regenesis1", &secret, key["key"].as_str().unwrap()] {
            assert!(!body.contains(hidden) && !head.contains(hidden), "{path}: {hidden}");
        }
    }
    // What was written onto media from here meanwhile.
    assert_eq!(status["on_media"]["written_volumes"], 0);
    lead.run(&["bundle", "export", "--dir", "snaps", "--to", "medium"]).done();
    while events.next().1["on_media"]["written_volumes"] != 1 {}
    let media = &site.status()["on_media"];
    assert!(media["written"][0].as_str().unwrap().ends_with("-1") && media["coming_chunks"] == 0, "{media}");
    // A port that is taken is said before anything else is done.
    let taken = ["fetch", &ticket, "--dir", "other", "--status-addr", &host];
    validator.swarm(&taken).finish().failed(1, &["cannot serve the status page", "--status-addr"]);
    fetch.stop(Signal::SIGTERM);
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn on_an_address_for_others_only_those_who_have_the_token_see_anything() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let start = || {
        let seed = lead.spawn(&[&["seed", "--dir", "snaps", "--status-addr", "0.0.0.0:0"], &LOOPBACK[..]].concat());
        seed.ticket();
        let site = Site::of(&seed);
        (seed, site)
    };
    lead.publish("snaps").ticket();
    let (seed, site) = start();
    let token = site.query.strip_prefix("?token=").expect("a token").to_owned();
    for path in ["/", "/api/v1/status", "/api/v1/events", "/metrics"] {
        for wrong in ["", "?token=", "?token=00000000000000000000000000000000", "?x=1"] {
            let refused = site.get_as(&format!("{path}{wrong}"), "lead.example", "");
            assert_eq!(refused.code, 401, "{path}{wrong}");
            assert!(!refused.body.contains(&token) && !refused.body.contains("kwil"), "{}", refused.body);
        }
    }
    assert_eq!(site.get_as("/", "lead.example", &format!("Authorization: Bearer {token}\r\n")).code, 200);
    assert_eq!(site.get_as("/healthz", "lead.example", "").code, 200);
    // What a browser may give away by itself opens nothing.
    for more in [format!("Referer: http://lead.example/?token={token}"), format!("Cookie: token={token}")] {
        assert_eq!(site.get_as("/", "lead.example", &format!("{more}\r\n")).code, 401, "{more}");
    }
    // As the program itself asks from another machine: with the whole address.
    let elsewhere = Party::new();
    let address = format!("http://{}/", site.at);
    let asked = ["status", "--output", "json", "--addr"];
    let told = elsewhere.run(&[&asked[..], &[&format!("{address}?token={token}")]].concat()).result();
    assert_eq!((&told["node"]["role"], &told["running"]), (&"seed".into(), &true.into()), "{told}");
    let refused = elsewhere.run(&["status", "--addr", &address]);
    refused.failed(1, &["it wants its token"]);
    assert!(!refused.stderr.contains(&token));
    let mut events = site.events();
    loop {
        let (_, told) = events.next();
        assert!(!told.to_string().contains(&token), "{told}");
        if told["log"].to_string().contains("its status page: http://") {
            break;
        }
    }
    let mode = std::fs::metadata(lead.path("snaps/.regenesis/page-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    seed.stop(Signal::SIGTERM).done();
    // A page that is open stays so over a restart.
    let (seed, again) = start();
    assert_eq!(again.query, site.query);
    seed.stop(Signal::SIGTERM).done();
}

#[test]
fn a_thousand_connections_that_say_nothing_and_pages_that_never_read_keep_nobody_from_asking() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let args = ["publish", "--dir", "snaps", "--key", "lead.key", "--status-addr", "127.0.0.1:0"];
    let publish = lead.swarm(&args);
    let (ticket, site) = (publish.ticket(), Site::of(&publish));
    let silent: Vec<TcpStream> = (0..1000).map(|_| site.connect()).collect();
    let deaf: Vec<Events> = (0..40).map(|_| site.events()).collect();
    assert_eq!(site.status()["running"], true);
    assert!(site.get_as("/", "127.0.0.1", &format!("X: {}\r\n", "a".repeat(64 << 10))).code >= 400);
    let many: String = (0..1000).map(|n| format!("X-{n}: a\r\n")).collect();
    assert!(site.get_as("/", "127.0.0.1", &many).code >= 400);
    // Ten megabytes are not read to their end to be refused.
    let endless = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n", "a".repeat(10 << 20));
    assert!(site.connect().write_all(endless.as_bytes()).is_err(), "it reads all of it");
    // The work goes on beside them.
    let validator = Party::new();
    validator.fetch(&ticket, "into").finish().done();
    assert_eq!(site.get("/healthz").code, 200);
    drop((silent, deaf));
    publish.stop(Signal::SIGTERM).done();
}
