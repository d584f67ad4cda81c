//! A manifest that several must sign: the lead serves it as a proposal, co-signers sign it in the swarm once they have checked it, and
//! nobody sets anything up before enough have.

use std::{fs, path::Path};

use kwil_formats::formats::Family;
use nix::sys::signal::Signal;
use regenesis::{
    app::node,
    base::clock,
    manifest::{SignedManifest, Signing, Ticket, TrustPolicy, verify},
    swarm::{self, Allow, Config, Content, Event, Identity, RateLimits},
};

use super::{attest::Quartet, status};
use crate::common::{LOOPBACK, Party, Process, change};

const PROPOSED: &str = "waiting until the co-signers have signed the manifest";

/// A party with the key of a recorded validator, and that key as the lead names it.
fn cosigner(number: usize) -> (Party, String) {
    let party = Party::new();
    party.take_key(Family::V010, number, "node.key");
    let key = party.run(&["key", "info", "-o", "node.key", "--output", "json"]).result();
    let public = key["validator_id"].as_str().unwrap().to_owned();
    (party, public)
}

/// The flags by which a lead asks for signatures of these.
fn asking<'a>(threshold: &'a str, cosigners: &[&'a str]) -> Vec<&'a str> {
    let named = cosigners.iter().flat_map(|public| ["--cosigner", public]);
    ["publish", "--dir", "snaps", "--key", "lead.key", "--threshold", threshold].into_iter().chain(named).collect()
}

/// The keys in the file of a manifest.
fn signatures(manifest: &Path) -> usize {
    SignedManifest::decode(&fs::read(manifest).unwrap()).unwrap().signatures().len()
}

fn join(party: &Party, ticket: &str, more: &[&str]) -> Process {
    party.join(ticket, "root", &[&["--key-file", "node.key", "--no-attest", "--timeout", "2m"], more].concat())
}

#[test]
fn nobody_sets_up_before_enough_have_signed_and_signatures_outlive_the_lead() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let [(one, first), (two, second), (_, third)] = [1, 2, 4].map(cosigner);
    let publish = lead.swarm(&asking("3", &[&first, &second, &third]));
    let ticket = publish.ticket();
    publish.wait_for_words("this manifest is a PROPOSAL");
    let watching = status::watch(&lead, "snaps");
    let proposed = status::wait_for(&watching, "a proposal", |status| status["signatures"]["enough"] == false);
    let shown = &proposed["signatures"];
    assert!(shown["needed"] == "3" && shown["signatures"] == 1, "{shown}");
    assert_eq!(shown["signers"].as_array().unwrap().iter().filter(|signer| signer["said"] == "silent").count(), 3);

    let relay = Party::new();
    let relaying = relay.swarm(&["relay", &ticket, "--dir", "relayed"]);
    let through = change(&relaying.ticket(), |ticket| ticket.addresses.truncate(1));
    relaying.wait_for_words("everything is here, as it was signed");
    // A follower, who starts a program once the root is there; and the first co-signer, who checks and signs.
    let follower = Party::new();
    let then = ["--new-key", "--no-attest", "--timeout", "2m", "--wait", "quorum", "--then", "touch", "started", ";"];
    let following = follower.join(&through, "root", &then);
    following.wait_for_words(&format!("{PROPOSED}: 1 of 3 signatures"));
    let joining = join(&one, &through, &[]);
    joining.wait_for_words(&format!("{PROPOSED}: 2 of 3 signatures; waiting for "));
    for process in [&publish, &relaying, &following] {
        process.wait_for_words("… has signed the manifest; 2 of 3 signatures");
    }
    // The lead goes, and has kept what was signed. So does the co-signer, who comes again.
    watching.stop(Signal::SIGINT).done();
    publish.stop(Signal::SIGTERM).done();
    assert_eq!(signatures(&lead.path("snaps/manifest.regenesis")), 2);
    let interrupted = joining.stop(Signal::SIGTERM);
    assert!(interrupted.code != 0 && !one.path("root/genesis.json").exists(), "{interrupted:?}");
    let joining = join(&one, &through, &[]);
    joining.wait_for_words(&format!("{PROPOSED}: 2 of 3 signatures; waiting for "));
    // A late one hears of both from whomever it meets.
    let late = Party::new();
    let fetching = late.fetch(&through, "files");
    fetching.wait_for_words(&format!("{PROPOSED}: 2 of 3 signatures; waiting for "));
    assert!(!follower.path("root/genesis.json").exists() && !follower.path("started").exists());

    // The second signs from a machine that fetches nothing.
    let ticket_file = "ticket.txt";
    two.write(ticket_file, &through);
    let cosign = ["manifest", "cosign", "--ticket-file", ticket_file, "--key", "node.key", "--output", "json"];
    let signed = two.swarm(&cosign).finish().result();
    assert!(signed["signatures"] == 3 && signed["needed"] == 3 && signed["manifest"].is_null(), "{signed}");
    fetching.finish().done();
    joining.finish().done();
    for manifest in [late.path("files/manifest.regenesis"), one.path("root/manifest.regenesis")] {
        assert_eq!(signatures(&manifest), 3, "{}", manifest.display());
    }
    following.wait_for_words("the manifest counts from now on: it has 3 of 3 signatures");
    following.wait_for_words("validators ready; waiting for");
    assert!(follower.path("root/genesis.json").exists() && !follower.path("started").exists());
    assert_ne!(following.stop(Signal::SIGTERM).code, 0);
    relaying.stop(Signal::SIGTERM).done();
    // What the relay has is a manifest as any other.
    let trust = ["manifest", "verify", "relayed", "--state-dir", "state", &through];
    relay.run(&trust).done();
    // Signed already, it says so at once, and one who is not named is refused.
    let again = lead.seed("snaps");
    again.wait_for_words("this manifest is a PROPOSAL");
    two.write(ticket_file, again.ticket());
    let signed = two.swarm(&cosign).finish().result();
    assert_eq!(signed["signatures"], 3, "the lead had two");
    let stranger = Party::new();
    stranger.take_key(Family::V09, 1, "node.key");
    stranger.write(ticket_file, again.ticket());
    stranger.swarm(&cosign[..6]).finish().failed(4, &["does not name the key"]);
    again.wait_for_words("the manifest counts from now on");
    again.stop(Signal::SIGTERM).done();
    assert_eq!(signatures(&lead.path("snaps/manifest.regenesis")), 3);
}

#[test]
fn a_cosigner_whose_own_check_fails_refuses_by_name_and_the_wait_has_an_end() {
    let quartet = Quartet::new(Family::V010, "cosign");
    quartet.tamper(1);
    let (_, refusing) = cosigner(1);
    let (other, silent) = cosigner(2);
    let flags = ["--attestations", "none", "--threshold", "3", "--cosigner", &refusing, "--cosigner", &silent];
    let (_lead, publish, ticket) = quartet.publish(&flags);
    let waiting = join(&other, &ticket, &[]);
    waiting.wait_for_words(&format!("{PROPOSED}: 2 of 3 signatures"));
    let party = Party::new();
    let refused = quartet.join_and_stay(&party, &ticket, 1, "none", &[]).finish();
    assert_eq!(refused.code, 3, "{refused:?}");
    let words = format!("{}… REFUSES to sign the manifest: its own old database holds another state", &refusing[..8]);
    publish.wait_for_words(&words);
    waiting.wait_for_words(&words);
    waiting.wait_for_words(&format!("2 of 3 signatures; REFUSED by {}…", &refusing[..8]));
    // Who has come later hears it, too, and waits no longer than it was told.
    let wait = ["wait", &ticket, "--for", "signed", "--timeout", "20s"];
    let named = format!("2 of 3 signatures; REFUSED by {}…", &refusing[..8]);
    Party::new().swarm(&wait).finish().failed(5, &[&named, "manifest cosign"]);
    assert!(!other.path("root/genesis.json").exists());
    // What it found was repaired: its signature takes the refusal back.
    let signed = party.swarm(&["manifest", "cosign", &ticket, "--key", "node.key"]).finish().done();
    assert!(signed.stdout.contains("3 of 3 signatures: the manifest counts"), "{signed:?}");
    waiting.finish().done();
    publish.wait_for_words("the manifest counts from now on");
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_lead_waits_for_signatures_no_longer_than_it_was_told_and_serves_nothing_that_counts() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let (_, first) = cosigner(1);
    let run = lead.swarm(&[&asking("2", &[&first])[..], &["--timeout", "2s"]].concat()).finish();
    let words = format!("{PROPOSED}: 1 of 2 signatures; waiting for {}…", &first[..8]);
    assert!(run.code == 5 && run.stderr.contains(&words), "{run:?}");
    // What needs no swarm takes no proposal either.
    lead.run(&["manifest", "verify", "snaps", "--trust", &lead_key(&lead)]).failed(3, &["step 4", "manifest cosign"]);
    let export = ["bundle", "export", "--dir", "snaps", "--to", "medium"];
    fs::create_dir(lead.path("medium")).unwrap();
    lead.run(&export).failed(3, &["step 4"]);
    let files = ["--genesis", "snaps/genesis.json", "--genesis-state", "snaps/snapshot.sql.gz"];
    let init = ["setup", "init", "--manifest", "snaps", "--root-dir", "root"];
    lead.run(&[&init[..], &files].concat()).failed(3, &["step 4"]);
    assert!(!lead.path("root").exists());
}

fn lead_key(lead: &Party) -> String {
    lead.run(&["manifest", "show", "snaps", "--output", "json"]).result()["lead"].as_str().unwrap().to_owned()
}

#[test]
fn old_validators_sign_by_their_power() {
    let quartet = Quartet::new(Family::V010, "power");
    let (lead, publish, ticket) =
        quartet.publish(&["--attestations", "none", "--threshold", "2/3", "--allow", "validators"]);
    publish.wait_for_words("power 1 of 4, more than 2/3 needed; waiting for ");
    let verify = ["manifest", "verify", "snaps", &ticket];
    lead.run(&verify).failed(3, &["step 4", "1 signature with power 1 of 4, more than 2/3 needed"]);
    let shown = lead.run(&["ticket", "show", &ticket]).done();
    assert!(shown.stdout.contains("old validators with more than 2/3 of the old power"), "{shown:?}");
    let cosign = |number: usize| {
        let (party, _) = cosigner(number);
        party.swarm(&["manifest", "cosign", &ticket, "--key", "node.key"]).finish().done()
    };
    let short = cosign(1);
    assert!(short.stdout.contains("power 2 of 4, more than 2/3 needed: more are needed"), "{short:?}");
    let enough = cosign(2);
    assert!(enough.stdout.contains("power 3 of 4, more than 2/3 needed: the manifest counts"), "{enough:?}");
    publish.wait_for_words("the manifest counts from now on");
    publish.stop(Signal::SIGTERM).done();
    lead.run(&verify).done();
    let shown = lead.run(&["manifest", "show", "snaps", "--output", "json"]).result();
    assert!(shown["threshold"] == "2/3" && shown["signatures"].as_array().unwrap().len() == 3, "{shown}");
}

/// Passes on signatures that do not hold, until it is dropped.
async fn lie(ticket: &Ticket) {
    let config = Config {
        identity: Identity::generate(),
        manifest_id: ticket.manifest_id,
        secret: ticket.secret.clone(),
        listen: vec![LOOPBACK[1].to_owned()],
        optional_listen: Vec::new(),
        external: Vec::new(),
        connect: ticket.addresses.clone(),
        relay_via: Vec::new(),
        lan: false,
        dht: None,
        allow: Allow::default(),
        bindings: Vec::new(),
        new_chain_id: ticket.new_chain_id.clone(),
        peers_max: 8,
        rate_limits: RateLimits::default(),
    };
    let mut handle = swarm::start(config).await.unwrap();
    while let Some(event) = handle.event().await {
        let Event::Charter { charter, .. } = event else { continue };
        let policy = TrustPolicy { keys: vec![ticket.lead], proposals: true, ..TrustPolicy::default() };
        let manifest = verify::verify(&charter.manifest, &policy, clock::unix_seconds()).unwrap();
        let lie = |n: u8| {
            let mut statement = Signing::of(&manifest).statements().remove(0);
            *statement.last_mut().unwrap() ^= n;
            statement
        };
        let lies: Vec<Vec<u8>> = (1..=255).map(lie).collect();
        handle.activate(Content::watching(node::contents(&manifest, false), charter)).await.unwrap();
        handle.tell(lies.clone(), lies).await.unwrap();
        // It goes on until it is dropped, and is not let in again.
        loop {
            match handle.event().await {
                Some(Event::Note(text)) if text.contains("does not hold") => return,
                Some(_) => {}
                None => return,
            }
        }
    }
}

#[test]
fn a_flood_of_wrong_signatures_costs_its_sender_its_session_and_nobody_anything_else() {
    let lead = Party::new();
    lead.take_recording(Family::V010, "snaps");
    let (one, first) = cosigner(1);
    let publish = lead.swarm(&asking("2", &[&first]));
    let ticket = publish.ticket();
    let liar = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let parsed: Ticket = ticket.parse().unwrap();
    let lying = liar.spawn(async move { lie(&parsed).await });
    publish.wait_for_words("was dropped and banned: it passed on a signature of the manifest that does not hold");
    let joining = join(&one, &ticket, &[]);
    joining.finish().done();
    publish.wait_for_words("the manifest counts from now on: it has 2 of 2 signatures");
    lying.abort();
    drop(liar);
    let said = publish.stop(Signal::SIGTERM).done().stderr;
    assert!(!said.contains("REFUSES") && said.matches("has signed the manifest").count() == 1, "{said}");
}
