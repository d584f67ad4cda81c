//! The status page in a real browser, without a screen: it is driven over its debugging pipe, as its developers' tools drive it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kwil_formats::formats::Family;
use nix::{sys::signal::Signal, sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{attest::Quartet, page::Site, resume::large};
use crate::common::{LOOPBACK, Party, Process};

/// Longer than anything takes on a busy machine; only a hang gets here.
const LIMIT: Duration = Duration::from_secs(120);

/// Names the directory in which pictures of the page are kept: scripts/screenshots.sh makes those of the README so.
const PICTURES: &str = "REGENESIS_PICTURES";
/// Names the file of axe-core, which judges whether everyone can use the page: scripts/test.sh fetches it where it can.
const AXE: &str = "REGENESIS_AXE";

/// A browser with one page.
struct Browser {
    child: Child,
    asked: File,
    answers: Receiver<Value>,
    /// What went wrong in the page, as the browser tells.
    wrong: VecDeque<Value>,
    session: Option<String>,
    last: u64,
    _place: TempDir,
}

impl Browser {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let (asked, answers) = (place.path().join("asked"), place.path().join("answers"));
        [&asked, &answers].iter().for_each(|path| mkfifo(*path, Mode::S_IRWXU).unwrap());
        let script = "for name in chromium google-chrome; do command -v $name >/dev/null && exec $name --headless --no-sandbox \
            --disable-gpu --disable-dev-shm-usage --no-first-run --hide-scrollbars --user-data-dir=\"$0/profile\" --remote-debugging-pipe about:blank \
            3<\"$0/asked\" 4>\"$0/answers\"; done; echo no chromium is installed: scripts/test.sh installs it >&2; exit 1";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(place.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        // Either opens when the browser opens its other end.
        let asked = File::options().write(true).read(true).open(&asked).unwrap();
        let mut told = BufReader::new(File::options().write(true).read(true).open(&answers).unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                if told.read_until(0, &mut line).is_err() || line.pop() != Some(0) {
                    return;
                }
                let value = serde_json::from_slice(&line).unwrap();
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let wrong = VecDeque::new();
        let mut browser = Browser { child, asked, answers, wrong, session: None, last: 0, _place: place };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.asked.write_all(format!("{message}\0").as_bytes()).unwrap();
        let id = self.last;
        let told = self.wait_until(method, |told| told["id"] == id);
        assert_eq!(told["error"], Value::Null, "{method}");
        told["result"].clone()
    }

    /// The next that the browser tells of this kind; what goes wrong in the page meanwhile is kept.
    #[track_caller]
    fn wait_until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let told = self.answers.recv_timeout(LIMIT).unwrap_or_else(|e| {
                panic!("{what}: {e}; is chromium installed? scripts/test.sh installs it ({:?})", self.child.try_wait())
            });
            if matches!(told["method"].as_str(), Some("Runtime.exceptionThrown" | "Log.entryAdded")) {
                self.wrong.push_back(told["params"].clone());
            }
            if is_it(&told) {
                return told;
            }
        }
    }

    /// Opens the page, to the last of what stands in it.
    fn open(&mut self, site: &Site) {
        self.open_at(&format!("http://{}/", site.at));
    }

    fn open_at(&mut self, url: &str) {
        self.look(1280, "light");
        self.call("Page.navigate", json!({"url": url}));
        self.wait_until("the page", |told| told["method"] == "Page.loadEventFired");
    }

    /// The value of an expression in the page.
    #[track_caller]
    fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let done = self.call("Runtime.evaluate", params);
        assert_eq!(done["exceptionDetails"], Value::Null, "{expression}");
        done["result"]["value"].clone()
    }

    /// Waits until it is so in the page, which tells it when something in it has changed.
    #[track_caller]
    fn wait_for(&mut self, condition: &str) {
        let waits = format!(
            "new Promise(done => {{ const look = () => ({condition}) && done(true); look(); \
             new MutationObserver(look).observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }}); \
             setTimeout(() => done(document.body.innerText), {}); }})",
            LIMIT.as_millis() / 2
        );
        let found = self.eval(&waits);
        assert_eq!(found, true, "{condition}");
    }

    fn text(&mut self, id: &str) -> String {
        self.eval(&format!("document.getElementById('{id}').textContent")).as_str().unwrap().to_owned()
    }

    /// How the page looks on such a screen: whether it fits, and the colour behind everything.
    fn look(&mut self, width: u32, scheme: &str) -> (bool, String) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
        // Nothing is caught on its way.
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}]});
        self.call("Emulation.setEmulatedMedia", features);
        let fits = self.eval("document.documentElement.scrollWidth <= innerWidth");
        let back = self.eval("getComputedStyle(document.body).backgroundColor");
        (fits == true, back.as_str().unwrap().to_owned())
    }
}

impl Browser {
    /// How the page looks on such a screen, as a picture, which is kept where somebody asks for pictures.
    #[track_caller]
    fn picture(&mut self, name: &str, width: u32, scheme: &str) {
        self.look(width, scheme);
        let height = self.eval("Math.min(document.documentElement.scrollHeight, 1120)").as_u64().unwrap();
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.call("Page.captureScreenshot", params);
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        // A PNG begins with its signature and the chunk of its size.
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert_eq!((&png[1..4], number(16), u64::from(number(20))), (&b"PNG"[..], width, height));
        if let Some(directory) = std::env::var_os(PICTURES) {
            std::fs::write(Path::new(&directory).join(format!("{name}.png")), png).unwrap();
        }
    }

    /// A picture of it on a wide screen in light and in dark, and one on a telephone.
    #[track_caller]
    fn pictures(&mut self, name: &str) {
        for (look, width, scheme) in [("light", 1000, "light"), ("dark", 1000, "dark"), ("phone", 390, "dark")] {
            self.picture(&format!("{name}-{look}"), width, scheme);
        }
    }

    /// What axe-core finds in the page that keeps somebody from using it; nothing where axe-core is not at hand.
    #[track_caller]
    fn is_for_everyone(&mut self) {
        let Some(axe) = std::env::var_os(AXE) else { return };
        self.eval(&format!("{}; typeof axe", std::fs::read_to_string(axe).unwrap()));
        let found = self.eval(
            "axe.run().then(done => done.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target + ' ' + n.failureSummary).join('; ')))",
        );
        assert_eq!(found, json!([]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fetch(party: &Party, ticket: &str, at: &str) -> (Process, Site) {
    // On a line on which it takes some seconds, so that there is something to see.
    let flags = ["fetch", ticket, "--dir", "into", "--linger", "1h", "--status-addr", at, "--download-limit", "200M"];
    let fetch = party.spawn(&[&flags[..], &LOOPBACK, &["--state-dir", "state"]].concat());
    let site = Site::of(&fetch);
    (fetch, site)
}

#[test]
fn a_page_shows_a_fetch_as_it_goes_says_when_it_is_stale_and_goes_on_after_a_restart() {
    let (_lead, publish, ticket) = large();
    let validator = Party::new();
    // The page is opened before anything comes.
    publish.signal(Signal::SIGSTOP);
    let (process, site) = fetch(&validator, &ticket, "127.0.0.1:0");
    let mut browser = Browser::start();
    browser.open(&site);
    browser.wait_for("document.getElementById('live')?.textContent === 'live'");
    let bar = "Number(document.getElementById('own-bar').getAttribute('aria-valuenow'))";
    assert_eq!(browser.eval(bar), 0);
    publish.signal(Signal::SIGCONT);
    browser.wait_for(&format!("{bar} > 30"));
    // As it stands in the middle, where it is not over already.
    publish.signal(Signal::SIGSTOP);
    browser.pictures("fetch");
    browser.is_for_everyone();
    publish.signal(Signal::SIGCONT);
    browser.wait_for(&format!("{bar} === 100"));
    browser.wait_for("document.querySelectorAll('#members tr').length === 1");
    browser.wait_for("document.querySelectorAll('#map span').length > 100");
    assert!(browser.text("next").len() > 3 && browser.text("log").contains("fetching"));
    assert_eq!(browser.eval("document.querySelectorAll('#seats li').length"), 4);

    // What media bring stands in words, and hatched in the bar behind what is here.
    let media = browser.eval(
        "(() => { const { node, on_media } = state; \
         state.node = { ...node, have_bytes: 40, total_bytes: 100 }; \
         state.on_media = { coming_chunks: 3, coming_bytes: 25, coming: ['chain-2-0707-4'], written_volumes: 0 }; show(); \
         const bar = document.getElementById('own-bar'), coming = document.getElementById('own-coming'); \
         const shown = [document.getElementById('own-media').textContent, coming.style.left, coming.style.width, \
         bar.getAttribute('aria-valuetext')]; \
         state.node = node; state.on_media = on_media; show(); \
         return [...shown, coming.style.width, bar.hasAttribute('aria-valuetext')]; })()",
    );
    let words = "on its way on media: 3 chunks, 25 B, on chain-2-0707-4";
    assert_eq!(media, json!([words, "40%", "25%", "40%, and 25% on media", "0%", false]));

    // For those who do not see it, and those who have no mouse.
    let unnamed = "[...document.querySelectorAll('section,[role=progressbar],[role=img],[role=region],[tabindex]')].filter(e => \
        !e.getAttribute('aria-label') && !document.getElementById(e.getAttribute('aria-labelledby'))?.textContent).length";
    assert_eq!(browser.eval(unnamed), 0);
    let values = "[...document.querySelectorAll('[role=progressbar]')].every(e => e.hasAttribute('aria-valuenow'))";
    assert_eq!(browser.eval(values), true);
    assert_eq!(browser.eval("document.documentElement.lang + document.querySelectorAll('th[scope]').length"), "en7");

    // Whatever a name holds, it is text.
    let evil = "<script>window.hit=1</script><img src=x onerror=window.hit=1>\\u202e";
    let shown = browser.eval(&format!(
        "(() => {{ const evil = \"{evil}\"; state.members = {{ x: {{ name: evil, chunks: 1, rate: 1, out_rate: 0, in_rate: 0 }} }}; \
         state.log = [evil]; state.kept_out = [evil]; state.next = evil; state.network.chain_id = evil; \
         state.attestations.voices = [{{ name: evil, power: 1, vote: 'dissents', differs: [evil] }}]; show(); \
         const text = (where) => document.querySelector(where).textContent.includes(evil); \
         return [document.querySelectorAll('main script, main img, header img').length, text('#members td'), text('#log li'), \
         text('#watch'), text('#next'), text('#network'), text('#voices li')]; }})()"
    ));
    assert_eq!(shown, json!([0, true, true, true, true, true, true]));
    assert_eq!(browser.eval("typeof window.hit"), "undefined");
    // The policy holds, too: no script but the page's own runs in it, and no style that an attribute brings.
    browser.eval("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit=1\">')");
    if browser.wrong.is_empty() {
        browser.wait_until("what was refused", |told| told["method"] == "Log.entryAdded");
    }
    assert_eq!(browser.eval("typeof window.hit"), "undefined");
    let refused = browser.wrong.iter().filter(|told| told.to_string().contains("Content Security Policy")).count();
    assert!(refused > 0 && refused == browser.wrong.len(), "only what was put in was refused: {:?}", browser.wrong);

    // In light and dark, on a wide screen and on a telephone.
    let ((wide, light), (narrow, dark)) = (browser.look(1280, "light"), browser.look(390, "dark"));
    assert!(wide && narrow && light != dark, "{wide} {light} {narrow} {dark}");

    // It says that it is stale, and goes on with the next process.
    process.stop(Signal::SIGKILL);
    browser.wait_for("document.getElementById('live').textContent.startsWith('stale since ')");
    let (process, _) = fetch(&validator, &ticket, &site.at.to_string());
    browser.wait_for("document.getElementById('live').textContent === 'live'");
    browser.wait_for("document.querySelector('#members td')?.textContent.startsWith('validator ')");
    // One that ends in order says so, with what is done next.
    browser.wait_for("state.node.complete === true");
    process.stop(Signal::SIGTERM);
    browser.wait_for("document.getElementById('live').textContent.startsWith('ended at ')");
    assert!(browser.text("next").contains("serves it again"), "{}", browser.text("next"));
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_page_shows_who_holds_another_state_and_when_enough_are_ready() {
    let quartet = Quartet::new(Family::V010, "page");
    quartet.tamper(2);
    let (lead, publish, ticket) = quartet.publish(&["--status-addr", "127.0.0.1:0"]);
    let site = Site::of(&publish);
    let mut browser = Browser::start();
    browser.open(&site);
    browser.wait_for("document.getElementById('live')?.textContent === 'live'");
    let wait = ["--wait", "quorum", "--status-addr", "127.0.0.1:0"];
    let stay = |party: &Party, index| quartet.join_and_stay(party, &ticket, index, "1h", &wait);
    let parties = [(); 4].map(|()| Party::new());
    let dissenter = stay(&parties[3], 2);
    // Who looks at the page of the one that ends hears why, and what is done about it.
    let mut its_page = Site::of(&dissenter).events();
    let heard = thread::spawn(move || its_page.until_the_end());
    let first = [stay(&parties[0], 1), stay(&parties[1], 3)];
    let dissenter = dissenter.finish();
    assert_eq!(dissenter.code, 3, "{dissenter:?}");
    let end = heard.join().unwrap();
    assert_eq!(end["running"], false, "{end}");
    assert!(end["next"].as_str().unwrap().contains("--despite-dissent"), "{end}");
    browser.wait_for(&format!(
        "document.querySelector('#voices .dissents')?.textContent.includes('{}')",
        quartet.tampered()
    ));
    browser.wait_for("document.querySelectorAll('#seats .yes').length === 2");
    // What has to be looked at stands on top, though the others go on.
    browser.wait_for(&format!("document.getElementById('watch').textContent.includes('{}')", quartet.tampered()));
    browser.pictures("dissent");
    browser.is_for_everyone();
    let last = stay(&parties[2], 0);
    browser.wait_for("document.querySelectorAll('#seats .yes').length === 3");
    browser.wait_for("Number(document.getElementById('ready-bar').getAttribute('aria-valuenow')) === 75");
    browser.wait_for("state.readiness.quorum === true");
    browser.wait_for("document.body.classList.contains('good') && document.title.startsWith('✓ ')");
    browser.pictures("quorum");
    browser.is_for_everyone();
    for process in first.into_iter().chain([last]) {
        process.wait_for("its end", |stdout, _| stdout.contains("\"root\"").then_some(()));
        process.stop(Signal::SIGTERM).done();
    }
    publish.stop(Signal::SIGTERM).done();

    // And afterwards: who agreed, who did not, who was ready when, and when that was enough.
    let dirs = parties.each_ref().map(|party| party.path("root").to_str().unwrap().to_owned());
    let report = ["report", "--dir", "snaps", &dirs[0], &dirs[1], &dirs[2], &dirs[3], "-o", "report.html"];
    lead.run(&report).done();
    browser.open_at(&format!("file://{}", lead.path("report.html").display()));
    // One of the three that are ready has two nodes, the lead's and its own.
    for (class, count) in [("dissents", 1), ("ready", 3 + 1), ("quorum", 1)] {
        assert_eq!(browser.eval(&format!("document.querySelectorAll('svg .{class}').length")), count, "{class}");
    }
    browser.picture("report-quorum-dark", 1000, "dark");
}

#[test]
fn a_report_is_a_page_that_needs_nothing_and_fits_every_screen() {
    let (lead, publish, ticket) = large();
    let parties = [(); 3].map(|()| Party::new());
    let limits = ["200M", "150M", "100M"];
    let fetches: Vec<Process> = (parties.iter().zip(limits))
        .map(|(party, limit)| {
            party.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "none", "--download-limit", limit])
        })
        .collect();
    fetches.into_iter().for_each(|fetch| _ = fetch.finish().done());
    publish.stop(Signal::SIGTERM).done();
    let dirs = parties.each_ref().map(|party| party.path("into").to_str().unwrap().to_owned());
    let report = ["report", "--dir", "snaps", &dirs[0], &dirs[1], &dirs[2], "--drill", "-o", "report.html"];
    lead.run(&report).done();
    let mut browser = Browser::start();
    browser.open_at(&format!("file://{}", lead.path("report.html").display()));
    // Its style is the one that its policy names, and everyone has a row.
    let have = "getComputedStyle(document.querySelector('.have')).fill !== getComputedStyle(document.querySelector('.row')).fill";
    assert_eq!(browser.eval(have), true);
    assert_eq!(browser.eval("document.querySelectorAll('svg .row').length"), 4 + 3);
    let sources =
        "[...document.querySelectorAll('svg [class^=s] title')].filter(t => t.textContent.startsWith('from ')).length";
    assert!(browser.eval(sources).as_u64() >= Some(3));
    assert_eq!(browser.eval("document.querySelectorAll('svg .done').length"), 3);
    assert_eq!(browser.eval("document.querySelectorAll('svg .predicted').length"), 3);
    browser.picture("report-light", 1000, "light");
    browser.is_for_everyone();
    let ((wide, light), (narrow, dark)) = (browser.look(1280, "light"), browser.look(390, "dark"));
    assert!(wide && narrow && light != dark, "{wide} {light} {narrow} {dark}");
    assert!(browser.wrong.is_empty(), "{:?}", browser.wrong);
}
