//! `evidence verify` on committed files, as whoever has nothing but the file and the genesis runs it; and a second reader
//! of the same bytes, written in python from `proto/manifest.proto` alone.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use kwil_formats::formats::key::PublicKey;
use serde_json::Value;

use crate::common::Party;

fn vector(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/vectors", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

fn certificate() -> [String; 3] {
    [vector("evidence/certificate.evidence"), "--genesis".to_owned(), vector("evidence/genesis.json")]
}

fn verify<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["evidence", "verify"], args].concat()
}

#[test]
fn a_certificate_is_checked_with_nothing_but_the_genesis() {
    let party = Party::new();
    let [file, flag, genesis] = certificate();
    let args = verify(&[&file, &flag, &genesis]);
    let json = party.run(&[&args[..], &["--output", "json"]].concat()).result();
    assert_eq!(
        (&json["kind"], &json["ok"], &json["power"], &json["total_power"]),
        (&"certificate".into(), &true.into(), &7.into(), &10.into())
    );
    assert_eq!((json["ready"].as_array().unwrap().len(), json["missing"].as_array().unwrap().len()), (3, 1));
    let words = party.run(&args).done().stdout;
    for part in
        ["enough validators say so", "power       7 of 10", "kwild 0.10.2", "at 10.0.0.5:6600, kwil.example:6600"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(words.contains(", leads") && words.contains("2027-01-15T08:00:05Z"), "{words}");
    party.run(&verify(&[&file])).failed(2, &["--genesis FILE"]);
    let other = vector("manifest/genesis.json");
    party.run(&verify(&[&file, &flag, &other])).failed(3, &["is about the genesis with SHA-256"]);
}

#[test]
fn a_proof_against_a_lead_needs_no_other_file() {
    let party = Party::new();
    let file = vector("evidence/equivocation.evidence");
    let json = party.run(&[&verify(&[&file])[..], &["--output", "json"]].concat()).result();
    assert_eq!((&json["kind"], &json["sequence"]), (&"equivocation".into(), &1_799_999_900.into()));
    let words = party.run(&verify(&[&file])).done().stdout;
    assert!(words.contains("signed two different manifests with sequence 1799999900"), "{words}");
}

#[test]
fn what_is_no_evidence_exits_3() {
    let party = Party::new();
    let mut forged = std::fs::read(vector("evidence/equivocation.evidence")).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    party.write("forged", forged);
    party.run(&verify(&["forged"])).failed(3, &["it proves nothing: the signature by"]);
    party.write("large", vec![0; (4 << 20) + 1]);
    party.run(&verify(&["large"])).failed(3, &["large"]);
    party.run(&verify(&[&vector("manifest/good.regenesis")])).failed(3, &["this is no evidence"]);
    party.run(&verify(&["missing"])).failed(1, &["missing"]);
}

/// What the python reader says; `None` where this machine has no python3.
fn python(args: &[&str]) -> Option<Result<Value, String>> {
    let mut command = Command::new("python3");
    command.arg(vector("evidence/check.py")).args(args).stdin(Stdio::null());
    let output = match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    Some(match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    })
}

#[test]
fn another_reader_finds_the_same_ids_signatures_and_sums() {
    let [file, flag, genesis] = certificate();
    let Some(theirs) = python(&["certificate", &file, &genesis]) else { return };
    let (party, theirs) = (Party::new(), theirs.unwrap());
    let json = |args: &[&str]| party.run(&[args, &["--output", "json"]].concat()).result();
    let ours = json(&verify(&[&file, &flag, &genesis]));
    for field in ["manifest_id", "power", "total_power", "ok"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    let proof = vector("evidence/equivocation.evidence");
    let (ours, theirs) = (json(&verify(&[&proof])), python(&["equivocation", &proof]).unwrap().unwrap());
    for field in ["chain_id", "sequence", "manifest_ids"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    let manifest = vector("manifest/good.regenesis");
    let (issue, revocation) = (vector("evidence/issue.evidence"), vector("evidence/revocation.evidence"));
    let about = ["--manifest", manifest.as_str()];
    for (kind, file, more) in [("issue", &issue, &about[..0]), ("revocation", &revocation, &about[..])] {
        let ours = json(&[&verify(&[file])[..], more].concat());
        let theirs = python(&[kind, file]).unwrap().unwrap();
        assert_eq!((&ours["kind"], &ours["ok"]), (&kind.into(), &true.into()));
        for field in ["manifest_id", "chain_id", "sequence"] {
            assert_eq!(ours[field], theirs[field], "{field}");
        }
        assert_eq!(Some(ours["signers"].as_array().unwrap().len() as u64), theirs["signers"].as_u64());
    }
    let (exclusion, bound) = (vector("evidence/exclusion.evidence"), vector("evidence/node.binding"));
    let (ours, theirs) =
        (json(&[&verify(&[&exclusion])[..], &about].concat()), python(&["exclusion", &exclusion]).unwrap().unwrap());
    assert_eq!((&ours["kind"], &ours["manifest_id"]), (&"exclusion".into(), &theirs["manifest_id"]));
    assert!(ours["validator"].as_str().unwrap().starts_with(theirs["validator"].as_str().unwrap()));
    let (ours, theirs) = (json(&["key", "binding", &bound]), python(&["binding", &bound]).unwrap().unwrap());
    assert!(ours["validator"].as_str().unwrap().starts_with(theirs["validator"].as_str().unwrap()));
    assert_eq!(ours["new_chain_id"], theirs["new_chain_id"]);
    let node = PublicKey::from_peer_id(ours["peer_id"].as_str().unwrap()).unwrap();
    assert_eq!(theirs["node"], node.to_hex());
    let (ours, theirs) = (json(&["manifest", "show", &manifest]), python(&["manifest", &manifest]).unwrap().unwrap());
    assert_eq!(ours["id"], theirs["id"]);
    assert_eq!(ours["signatures"].as_array().unwrap().len(), theirs["signers"].as_array().unwrap().len());

    // One that counts by the old network's power, a signature of it on its own, and one who refuses.
    let by_power = vector("manifest/power.regenesis");
    let (ours, theirs) = (json(&["manifest", "show", &by_power]), python(&["manifest", &by_power]).unwrap().unwrap());
    assert_eq!((&ours["id"], &ours["threshold"]), (&theirs["id"], &"2/3".into()));
    assert_eq!((&theirs["signed"], &theirs["of"], &theirs["enough"]), (&12.into(), &16.into(), &true.into()));
    let (signature, refusal) = (vector("evidence/manifest.signature"), vector("evidence/manifest.refusal"));
    for (kind, file) in [("signature", &signature), ("refusal", &refusal)] {
        assert_eq!(python(&[kind, file]).unwrap().unwrap()["manifest_id"], ours["id"], "{kind}");
    }

    // It does check: of each file, a byte of a signature changed.
    for (kind, file, genesis) in [
        ("certificate", &file, Some(&genesis)),
        ("equivocation", &proof, None),
        ("issue", &issue, None),
        ("revocation", &revocation, None),
        ("binding", &bound, None),
        ("manifest", &manifest, None),
        ("manifest", &by_power, None),
        ("signature", &signature, None),
        ("refusal", &refusal, None),
    ] {
        let mut bytes = std::fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        party.write(kind, bytes);
        let path = party.path(kind);
        let args: Vec<&str> = [kind, path.to_str().unwrap()].into_iter().chain(genesis.map(String::as_str)).collect();
        let refused = python(&args).unwrap().unwrap_err();
        assert!(refused.contains("does not hold") || refused.contains("no point"), "{refused}");
    }
}
