use proptest::prelude::*;
use rand::SeedableRng;

use super::*;
use crate::base::Error;

const SEED_HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PUBLIC_HEX: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";

fn vector_key() -> PrivateKey {
    let mut seed = [0; 32];
    hex::decode_to_slice(SEED_HEX, &mut seed).unwrap();
    PrivateKey::from_seed(KeyType::Ed25519, &seed).unwrap()
}

/// What follows `label: ` in a recorded text.
fn field<'a>(text: &'a str, label: &str) -> &'a str {
    let start = text.find(label).unwrap_or_else(|| panic!("{label} is recorded")) + label.len();
    text[start..].lines().next().unwrap().trim()
}

#[test]
fn v09_recorded_keys_have_the_recorded_ids() {
    let recordings = [
        include_str!("../../../../tests/data/v0.9/keys/vector1.txt"),
        include_str!("../../../../tests/data/v0.9/keys/vector2.txt"),
        include_str!("../../../../tests/data/v0.9/keys/vector3.txt"),
        include_str!("../../../../tests/data/v0.9/keys/vector4.txt"),
    ];
    for recording in recordings {
        let private = field(recording, "Private key (hex):");
        let (key, form) = PrivateKey::parse_file(format!(" {private}\r\n").as_bytes()).unwrap();
        assert_eq!(form, KeyFileForm::HexText);
        assert_eq!(key.to_file(Family::V09).unwrap().as_slice(), private.as_bytes());
        assert_eq!(key.public().to_hex(), field(recording, "Public key (plain hex):"));
        assert_eq!(key.public().node_id(Family::V09), field(recording, "Node ID:"));
        assert_eq!(hex::encode_upper(key.public().comet_address()), field(recording, "Address (string):"));
    }
}

#[test]
fn v010_recorded_cases() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/data/v0.10/keys/cases.json")).unwrap();
    let (mut infos, mut files) = (0, 0);
    for case in cases.as_array().unwrap() {
        let stdout = case["stdout"].as_str().unwrap();
        for (name, file) in case["files"].as_object().unwrap() {
            let text = file["bytes"].as_str().unwrap();
            let parsed = PrivateKey::parse_file(text.as_bytes());
            if name == "n3.json" {
                // Kwil: "invalid character 'f' after top-level value".
                assert!(matches!(parsed.unwrap_err(), KeyError::FileHexLength { length: 64, .. }));
                continue;
            }
            let (key, form) = parsed.unwrap();
            assert_eq!(form.family(), Family::V010);
            files += 1;
            if file["mode"] == "0o600" {
                assert_eq!(key.to_file(Family::V010).unwrap().as_slice(), text.as_bytes(), "{name}");
            }
        }
        if !stdout.starts_with("Key type:") {
            continue;
        }
        infos += 1;
        let kind: KeyType = field(stdout, "Key type:").parse().unwrap();
        let key = PrivateKey::from_bytes(kind, &hex::decode(field(stdout, "Private key (hex):")).unwrap()).unwrap();
        assert_eq!(key.public().to_hex(), field(stdout, "Public key (plain hex):"));
        assert_eq!(key.public().node_id(Family::V010), field(stdout, "Node ID:"));
        match key.public().user_address() {
            Some(address) => assert_eq!(address, field(stdout, "Equivalent User Address:")),
            None => assert!(!stdout.contains("Address")),
        }
    }
    assert!(infos >= 10 && files >= 10, "{infos} {files}");
}

#[test]
fn voter_ids_and_names() {
    let public = vector_key().public();
    assert_eq!(public.to_hex(), PUBLIC_HEX);
    for (family, id) in
        [(Family::V09, "9184e6ff80ac5534bc2255f5089986a2"), (Family::V010, "9da50814959358659ccc85b799d7220d")]
    {
        let name = public.to_voter_name(family);
        assert_eq!(hex::encode(voter_id(&name)), id);
        assert_eq!(PublicKey::from_voter_name(family, &name), Ok(public));
    }
    // Recorded: v0.10 quartet, a secp256k1 voter.
    let name = hex::decode("00000000035d343395b25882734844ff6a9d3572c50aa9ea48d5f8cc759035053537e2499c").unwrap();
    assert_eq!(hex::encode(voter_id(&name)), "e7b47a0076b55d1a99fb3102d92b9d77");
    assert_eq!(PublicKey::from_voter_name(Family::V010, &name).unwrap().key_type(), KeyType::Secp256k1);
    assert_eq!(PublicKey::from_voter_name(Family::V010, &[9, 0, 0, 0, 1]), Err(KeyError::VoterNameType(9)));
    assert_eq!(PublicKey::from_voter_name(Family::V010, &[0, 0]), Err(KeyError::VoterNameShort(2)));
    assert_eq!(
        PublicKey::from_voter_name(Family::V09, &name),
        Err(KeyError::PublicLength { kind: KeyType::Ed25519, got: 37 })
    );
}

#[test]
fn bad_key_files_are_told_apart_and_never_quoted() {
    let secret = "deadbeef".repeat(16);
    let json = |key: &str, kind: &str| format!("{{\"key\":\"{key}\",\"type\":\"{kind}\"}}");
    let cases: Vec<(String, KeyError)> = vec![
        (String::new(), KeyError::FileEmpty),
        (" \n".into(), KeyError::FileEmpty),
        ("x".repeat(limits::KEY_FILE_SIZE_BYTES_MAX + 1), KeyError::FileLarge(limits::KEY_FILE_SIZE_BYTES_MAX + 1)),
        ("hello".into(), KeyError::FileForm(None)),
        (format!("0x{secret}"), KeyError::FileForm(Some("hex with 0x in front; Kwil writes it without"))),
        ("-----BEGIN PRIVATE KEY-----".into(), KeyError::FileForm(Some("a PEM file"))),
        (format!("{PUBLIC_HEX}#ed25519"), KeyError::FileForm(Some("a node id or public key"))),
        (
            secret[..127].to_owned(),
            KeyError::FileHexLength { length: 127, what: ": the file is cut, or something else" },
        ),
        (secret.clone(), KeyError::Mismatch),
        (json(&secret, "ed25519"), KeyError::Mismatch),
        (json(&secret, "rsa"), KeyError::UnknownType("rsa".into())),
        (json("ed25519", &secret), KeyError::UnknownType("(a text of 128 bytes)".into())),
        (json(&secret[..64], "ed25519"), KeyError::PrivateLength { kind: KeyType::Ed25519, got: 32 }),
        (json(&secret, "secp256k1"), KeyError::PrivateLength { kind: KeyType::Secp256k1, got: 64 }),
        (json(&"f".repeat(64), "secp256k1"), KeyError::NotAScalar),
        (json(&"0".repeat(64), "secp256k1"), KeyError::NotAScalar),
        (json(&format!("z{secret}"), "ed25519"), KeyError::FileJson("\"key\" is not hex")),
        (format!("{{\"key\":\"{secret}\""), KeyError::FileJson("the text is cut or no valid JSON")),
        (format!("{{\"key\":\"{secret}\"}}"), KeyError::FileJson("a key is missing, twice there, or no string")),
    ];
    for (text, expected) in cases {
        let error = PrivateKey::parse_file(text.as_bytes()).unwrap_err();
        assert_eq!(error, expected, "{text}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("deadbeef"), "{shown}");
        assert!(Error::from(error).advice().is_some());
    }
}

#[test]
fn peer_ids_are_libp2ps() {
    // kwild logged this id of the network's leader (v0.10 restart/solo/log.txt).
    let genesis = include_str!("../../../../tests/data/v0.10/restart/solo/genesis.after-init.json");
    let genesis: serde_json::Value = serde_json::from_str(genesis).unwrap();
    let leader = format!("{}#secp256k1", genesis["leader"]["key"].as_str().unwrap());
    let leader: PublicKey = leader.parse().unwrap();
    assert_eq!(leader.peer_id(), "16Uiu2HAmQyyJTFa51xCYy7nTnbhSgMydSWeLhJYeHBYfPP5t6mKT");
    assert!(vector_key().public().peer_id().starts_with("12D3KooW"));
    assert_eq!(vector_key().public().voter_id(Family::V09), "9184e6ff-80ac-5534-bc22-55f5089986a2");
}

#[test]
fn debug_does_not_show_the_secret() {
    let shown = format!("{:?}", vector_key());
    assert!(shown.contains("redacted") && !shown.contains(SEED_HEX), "{shown}");
}

#[test]
fn v09_holds_no_secp256k1_key() {
    let key = PrivateKey::from_seed(KeyType::Secp256k1, &[7; 32]).unwrap();
    assert_eq!(key.to_file(Family::V09).unwrap_err(), KeyError::FamilyCannotHold(KeyType::Secp256k1));
}

#[test]
fn public_keys_off_the_curve_are_refused() {
    assert_eq!(
        PublicKey::new(KeyType::Secp256k1, &[[2].as_slice(), &[0xff; 32]].concat()),
        Err(KeyError::NotAPoint(KeyType::Secp256k1))
    );
    let mut off_curve = [0; 32];
    off_curve[0] = 2;
    assert_eq!(PublicKey::new(KeyType::Ed25519, &off_curve), Err(KeyError::NotAPoint(KeyType::Ed25519)));
}

#[test]
fn the_high_half_of_s_is_refused() {
    let key = PrivateKey::from_seed(KeyType::Secp256k1, &[1; 32]).unwrap();
    let signature = k256::ecdsa::Signature::from_slice(&key.sign(b"m")).unwrap();
    let (r, s) = signature.split_scalars();
    let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert!(key.public().verify(b"m", &signature.to_bytes()));
    assert!(!key.public().verify(b"m", &high.to_bytes()));
}

proptest! {
    #[test]
    fn keys_round_trip_and_sign(number in any::<u64>(), ed25519 in any::<bool>(), message in proptest::collection::vec(any::<u8>(), 0..100)) {
        let kind = if ed25519 { KeyType::Ed25519 } else { KeyType::Secp256k1 };
        let key = PrivateKey::generate(kind, &mut rand::rngs::StdRng::seed_from_u64(number));
        let (again, form) = PrivateKey::parse_file(&key.to_file(Family::V010).unwrap()).unwrap();
        prop_assert_eq!(form, KeyFileForm::Json);
        prop_assert_eq!(again.public(), key.public());
        prop_assert_eq!(key.public().to_string().parse::<PublicKey>(), Ok(key.public()));
        let name = key.public().to_voter_name(Family::V010);
        prop_assert_eq!(PublicKey::from_voter_name(Family::V010, &name), Ok(key.public()));
        let signature = key.sign(&message);
        prop_assert_eq!(signature.len(), 64);
        prop_assert!(key.public().verify(&message, &signature));
        let mut other = message.clone();
        other.push(0);
        prop_assert!(!key.public().verify(&other, &signature));
        for i in [0, 31, 32, 63] {
            let mut bad = signature.clone();
            bad[i] ^= 1;
            prop_assert!(!key.public().verify(&message, &bad));
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PrivateKey::parse_file(&bytes);
        let _ = PublicKey::from_voter_name(Family::V010, &bytes);
    }
}
