//! A manifest that counts no more: its lead has signed another one with the same number, or a newer one, or it was revoked. Whoever
//! works with it ends, keeps the proof, and tells the others.

use std::fs;

use kwil_formats::formats::Family;
use regenesis::manifest::{Evidence, Ticket};

use super::outside::{KEEP_EVENTS, events};
use crate::common::{LOOPBACK, Party, Process, Run, change, data, names};

const WAITING: &str = "waiting until the old network's validators confirm the state";

/// A lead with a snapshot, and what it signs of it.
struct Lead(Party);

impl Lead {
    fn new() -> Self {
        let party = Party::new();
        party.take_recording(Family::V010, "one");
        Lead(party)
    }

    /// The same files with one parameter changed, in another directory.
    fn edit(&self, directory: &str) {
        let genesis = String::from_utf8(self.0.read("one/genesis.json")).unwrap();
        let edited = genesis.replace("\"max_votes_per_tx\": 200", "\"max_votes_per_tx\": 201");
        assert_ne!(edited, genesis);
        self.0.write(&format!("{directory}/genesis.json"), edited);
        self.0.write(&format!("{directory}/snapshot.sql.gz"), self.0.read("one/snapshot.sql.gz"));
    }

    /// Signs so that nobody sets a root up before two old validators have spoken; gives the sequence.
    fn sign(&self, directory: &str, state: &str, more: &[&str]) -> u64 {
        let old = data("v0.10/worlds/quartet/genesis.original.json");
        let args = [
            "manifest",
            "sign",
            "--snapdir",
            directory,
            "--state-dir",
            state,
            "--key",
            "lead.key",
            "--old-genesis",
            old.to_str().unwrap(),
            "--attestations",
            "2",
            "--output",
            "json",
        ];
        self.0.run(&[&args[..], more].concat()).result();
        self.0.run(&["manifest", "show", directory, "--output", "json"]).result()["sequence"].as_u64().unwrap()
    }

    fn seed(&self, directory: &str, state: &str, more: &[&str]) -> Process {
        self.0.spawn(&[&["seed", "--dir", directory, "--state-dir", state], &LOOPBACK[..], more].concat())
    }
}

/// Joins, and waits for old validators who say nothing.
fn waiting_join(party: &Party, ticket: &str, more: &[&str]) -> Process {
    let join = party.join(ticket, "root", &[&["--new-key", "--timeout", "2m"], more].concat());
    join.wait_for_words(WAITING);
    join
}

/// What a party's state directory holds as evidence of this kind.
fn kept(party: &Party, kind: &str) -> Evidence {
    let networks = party.path("state/networks");
    let network = fs::read_dir(&networks).unwrap().next().unwrap().unwrap().path();
    let path = network.join(format!("{kind}.evidence"));
    let said = party.run(&["evidence", "verify", path.to_str().unwrap()]);
    assert!(kind != "equivocation" || said.done().stdout.contains("signed two different manifests"));
    Evidence::decode(&fs::read(path).unwrap()).unwrap()
}

fn ended(run: Run, party: &Party, code: i32, words: &str) {
    run.failed(code, &[words]);
    assert!(!party.path("root").exists(), "{:?}", names(party.path("").as_path()));
}

/// A process that had given out a ticket, and ended.
fn stopped(process: Process, code: i32, words: &[&str]) {
    let run = process.finish();
    assert!(run.code == code && words.iter().all(|words| run.stderr.contains(words)), "{words:?}: {run:?}");
}

#[test]
fn a_lead_that_shows_each_half_another_manifest_is_found_out_by_whoever_has_both_tickets() {
    let lead = Lead::new();
    lead.edit("other");
    let sequence = lead.sign("one", "state1", &[]).to_string();
    lead.sign("other", "state2", &["--sequence", &sequence]);
    let (one, other) = (lead.seed("one", "state1", &KEEP_EVENTS), lead.seed("other", "state2", &[]));
    let tickets = [one.ticket(), other.ticket()];
    let parties = [(); 4].map(|()| Party::new());
    let joins: Vec<Process> =
        parties.iter().enumerate().map(|(i, party)| waiting_join(party, &tickets[i / 2], &[])).collect();
    // One validator of the first half is given the other half's ticket, too, and looks what it is about.
    let two = "signed two different manifests with sequence";
    let looked = parties[0].swarm(&["wait", &tickets[1], "--for", "distinct", "--timeout", "1m"]).finish();
    looked.failed(3, &[two, "neither is good", "the proof is kept in"]);
    for (join, party) in joins.into_iter().zip(&parties) {
        ended(join.finish(), party, 3, "neither is good");
        let Evidence::Equivocation(proof) = kept(party, "equivocation") else { panic!("no proof") };
        assert_eq!(proof.sequence().to_string(), sequence);
    }
    // Those who serve do not go on either.
    stopped(one, 3, &["neither is good"]);
    stopped(other, 3, &["neither is good"]);
    let told = events(&lead.0);
    let evidence: Vec<_> = told.iter().filter(|event| event["event"] == "evidence").collect();
    assert!(evidence.len() == 1 && evidence[0]["text"].as_str().unwrap().contains("neither is good"), "{told:?}");
    // And nobody who knows it begins again.
    for (directory, state, ticket) in [("one", "state1", &tickets[0]), ("other", "state2", &tickets[1])] {
        let verify = ["manifest", "verify", directory, "--state-dir", state, ticket];
        lead.0.run(&verify).failed(3, &["neither is good"]);
    }
}

#[test]
fn members_of_two_manifests_who_meet_prove_the_leads_two_faces() {
    let lead = Lead::new();
    lead.edit("other");
    let sequence = lead.sign("one", "state1", &[]).to_string();
    // With one secret for both, members recognise each other.
    lead.0.write("other/.regenesis/secret", lead.0.read("one/.regenesis/secret"));
    lead.sign("other", "state2", &["--sequence", &sequence]);
    let (one, other) = (lead.seed("one", "state1", &[]), lead.seed("other", "state2", &[]));
    let first = one.ticket().parse::<Ticket>().unwrap();
    let second = change(&other.ticket(), |ticket| ticket.addresses.extend(first.addresses.clone()));
    let party = Party::new();
    let join = party.join(&second, "root", &["--new-key", "--timeout", "2m"]);
    ended(join.finish(), &party, 3, "two different manifests");
    assert!(matches!(kept(&party, "equivocation"), Evidence::Equivocation(_)));
}

#[test]
fn a_newer_manifest_ends_the_old_one_everywhere() {
    let lead = Lead::new();
    lead.edit("newer");
    let sequence = lead.sign("one", "state", &[]).to_string();
    let old = lead.seed("one", "state", &[]);
    let ticket = old.ticket();
    let (party, far) = (Party::new(), Party::new());
    let joins = [waiting_join(&party, &ticket, &[]), waiting_join(&far, &ticket, &[])];
    lead.sign("newer", "state", &[]);
    let words = "the lead has signed a newer manifest";
    stopped(old, 4, &[words, &format!("--allow-rollback {sequence}")]);
    for (join, party) in joins.into_iter().zip([&party, &far]) {
        ended(join.finish(), party, 4, words);
        assert!(matches!(kept(party, "issue"), Evidence::Issue(_)));
    }
    // It is refused from the start now, unless the operator means it.
    lead.seed("one", "state", &[]).finish().failed(4, &["rollback"]);
    let allowed = ["--allow-rollback", sequence.as_str()];
    let served = lead.seed("one", "state", &allowed);
    let again = change(&ticket, |t| t.addresses = served.ticket().parse::<Ticket>().unwrap().addresses);
    party.fetch(&again, "files").finish().failed(4, &[words]);
    let flags = ["fetch", &again, "--dir", "files", "--linger", "none", "--timeout", "20s"];
    party.swarm(&[&flags[..], &allowed].concat()).finish().done();
}

#[test]
fn a_manifest_is_revoked_by_as_many_as_signed_it() {
    let lead = Lead::new();
    lead.0.take_key(Family::V010, 1, "cosigner.key");
    let info = lead.0.run(&["key", "info", "--key-file", "cosigner.key", "--output", "json"]).result();
    let cosigner = format!("{}#{}", info["public_key_hex"].as_str().unwrap(), info["key_type"].as_str().unwrap());
    lead.sign("one", "state", &["--threshold", "2", "--cosigner", &cosigner]);
    lead.0.run(&["manifest", "cosign", "one", "--key", "cosigner.key"]).done();
    let seed = lead.seed("one", "state", &[]);
    let party = Party::new();
    let join = waiting_join(&party, &seed.ticket(), &[]);

    let revoke = |key: &str| {
        let args = ["manifest", "revoke", "one", "--key", key, "--state-dir", "state", "--output", "json"];
        lead.0.run(&args).result()
    };
    let verify = ["evidence", "verify", "one/revocation.evidence", "--manifest", "one"];
    // A stolen lead's key alone takes nothing back.
    assert_eq!((&revoke("lead.key")["signatures"], &revoke("lead.key")["needed"]), (&1.into(), &2.into()));
    let short = lead.0.run(&verify);
    assert!(short.code == 3 && short.stderr.contains("1 of 2 signatures"), "{short:?}");
    assert!(short.stdout.contains("NOT revoked yet"), "{short:?}");
    lead.0.run(&verify[..3]).failed(2, &["--manifest FILE"]);
    assert_eq!(revoke("cosigner.key")["signatures"], 2);
    stopped(seed, 3, &["it was revoked by"]);
    ended(join.finish(), &party, 3, "it was revoked by");
    assert!(matches!(kept(&party, "revocation"), Evidence::Revocation(_)));

    // On a machine that heard nothing, the file says it.
    let other = Party::new();
    for name in ["one/revocation.evidence", "one/manifest.regenesis"] {
        other.write(name, lead.0.read(name));
    }
    let keep = other.run(&[&verify[..], &["--keep", "--state-dir", "state"]].concat()).done();
    assert!(keep.stdout.contains("was revoked") && keep.stdout.contains("kept in"), "{keep:?}");
    let lead_key = lead.0.run(&["manifest", "show", "one", "--output", "json"]).result()["lead"].to_string();
    let trust = ["manifest", "verify", "one", "--state-dir", "state", "--trust", lead_key.trim_matches('"')];
    other.run(&trust).failed(3, &["it was revoked by"]);
    // Somebody whom the manifest does not name revokes nothing.
    lead.0.take_key(Family::V010, 2, "stranger.key");
    let strange = ["manifest", "revoke", "one", "--key", "stranger.key", "--state-dir", "state"];
    lead.0.run(&strange).failed(4, &["neither as its lead nor as a co-signer"]);
}
