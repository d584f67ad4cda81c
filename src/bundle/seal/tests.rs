use proptest::prelude::*;

use super::*;

fn papers() -> Vec<Paper> {
    let paper = |name: &str, bytes: &[u8]| Paper { name: name.to_owned(), bytes: bytes.to_vec() };
    vec![paper("manifest.regenesis", &[7; 200_000]), paper("genesis.json", b"{}")]
}

fn key() -> DataKey {
    DataKey::of(&[1; 32], &[2; 8], &Blake3Hash::from_bytes([3; 32]))
}

fn identity() -> (x25519::Identity, AgeKey) {
    let identity = x25519::Identity::generate();
    let key = identity.to_public().to_string().parse().unwrap();
    (identity, key)
}

fn with(identities: Vec<x25519::Identity>) -> Unseal {
    Unseal { identities, ..Unseal::default() }
}

fn with_passphrase(text: &str) -> Unseal {
    Unseal { passphrase: Some(passphrase(text).unwrap()), ..Unseal::default() }
}

#[test]
fn each_of_several_keys_opens_it_and_no_other() {
    let (mine, to_me) = identity();
    let (yours, to_you) = identity();
    let (other, _) = identity();
    let sealed = seal(&SealTo::Keys(vec![to_me, to_you]), &key(), &papers()).unwrap();
    for keys in [vec![mine], vec![other.clone(), yours]] {
        let (found, files) = unseal(&sealed, &with(keys)).unwrap();
        assert_eq!(found, key());
        assert_eq!(files.len(), 2);
        assert_eq!(files["manifest.regenesis"], papers()[0].bytes);
    }
    assert_eq!(unseal(&sealed, &with(vec![other])), Err(UnsealError::OtherKey));
    assert_eq!(unseal(&sealed, &Unseal::default()), Err(UnsealError::NoKey));
    assert_eq!(unseal(&sealed, &with_passphrase("x")), Err(UnsealError::NoKey));
}

#[test]
fn a_passphrase_opens_it_and_no_other() {
    let sealed = seal(&SealTo::Passphrase(passphrase("right one\nmore").unwrap()), &key(), &papers()).unwrap();
    assert_eq!(unseal(&sealed, &with_passphrase("right one")).unwrap().0, key());
    assert_eq!(unseal(&sealed, &with_passphrase("right  one")), Err(UnsealError::OtherPassphrase));
    assert_eq!(unseal(&sealed, &with(vec![identity().0])), Err(UnsealError::NoKey));
    assert!(passphrase("\nx").is_err() && passphrase("").is_err());
    // A stranger's medium does not make this machine work for hours.
    let text = String::from_utf8_lossy(&sealed[..200]).into_owned();
    let at = text.find(" 14\n").unwrap();
    for (work, takes) in [(16_u8, "2^16 steps of scrypt, which is 64.0 MiB"), (40, "2^40"), (60, "than any machine")] {
        let mut hostile = sealed.clone();
        hostile[at + 1..at + 3].copy_from_slice(work.to_string().as_bytes());
        let error = unseal(&hostile, &with_passphrase("right one")).unwrap_err();
        assert_eq!(error, UnsealError::Work(work));
        assert!(error.to_string().contains(takes), "{error}");
    }
}

#[test]
fn media_with_the_same_under_seal_have_it_once_and_others_have_their_own() {
    let (mine, to_me) = identity();
    let to_me = SealTo::Keys(vec![to_me]);
    let keys = with(vec![mine]);
    let sealed: Vec<Vec<u8>> = (0..SHARED_MAX + 2).map(|_| seal(&to_me, &key(), &papers()).unwrap()).collect();
    let first = keys.open(&sealed[0]).unwrap();
    assert!(Arc::ptr_eq(&first.1, &keys.open(&sealed[0]).unwrap().1));
    for sealed in &sealed[1..] {
        let other = keys.open(sealed).unwrap();
        assert!(!Arc::ptr_eq(&first.1, &other.1) && first.1 == other.1 && first.0 == other.0);
    }
    assert!(keys.known.lock().unwrap().len() == SHARED_MAX, "and not all there ever were");
    assert!(!Arc::ptr_eq(&first.1, &keys.open(&sealed[0]).unwrap().1));
    // What one set of keys has opened is closed to another one.
    assert_eq!(Unseal::default().open(&sealed[0]).map(|_| ()), Err(UnsealError::NoKey));
}

#[test]
fn what_is_cut_or_worn_is_said_to_be_that() {
    let (mine, to_me) = identity();
    let sealed = seal(&SealTo::Keys(vec![to_me]), &key(), &papers()).unwrap();
    let keys = with(vec![mine]);
    for cut in [0, 1, 30, 100, 1000, 70_000, sealed.len() - 1] {
        let found = unseal(&sealed[..cut], &keys);
        assert!(matches!(found, Err(UnsealError::Damaged(_))), "cut at {cut}: {found:?}");
    }
    for at in [5, 250, 1000, 66_000, sealed.len() - 3] {
        let mut worn = sealed.clone();
        worn[at] ^= 1;
        let found = unseal(&worn, &keys);
        assert!(matches!(found, Err(UnsealError::Damaged(_) | UnsealError::OtherKey)), "worn at {at}: {found:?}");
    }
    // Well sealed, and not by this program.
    let text = age::encrypt(&with(vec![keys.identities[0].clone()]).identities[0].to_public(), b"hello").unwrap();
    assert!(matches!(unseal(&text, &keys), Err(UnsealError::Damaged(_))));
}

#[test]
fn identities_are_read_as_age_writes_them() {
    use age::secrecy::ExposeSecret;
    let (mine, to_me) = identity();
    let secret = mine.to_string();
    let mut keys = Unseal::default();
    let file = format!("# created: 2026-01-01\n# public key: {to_me:?}\n{}\n\n", secret.expose_secret());
    assert_eq!(keys.add_identities(&file), Ok(1));
    assert_eq!(keys.add_identities("# none\n"), Ok(0));
    assert_eq!(keys.add_identities("#\n\nssh-ed25519 AAAA"), Err(3));
    let sealed = seal(&SealTo::Keys(vec![to_me]), &key(), &[]).unwrap();
    unseal(&sealed, &keys).unwrap();
    assert!("age1qqqq".parse::<AgeKey>().is_err());
}

#[test]
fn keys_are_of_one_set_and_manifest_and_their_marks_say_so() {
    let id = |byte| Blake3Hash::from_bytes([byte; 32]);
    let keys = [
        key(),
        DataKey::of(&[4; 32], &[2; 8], &id(3)),
        DataKey::of(&[1; 32], &[4; 8], &id(3)),
        DataKey::of(&[1; 32], &[2; 8], &id(4)),
    ];
    for (number, key) in keys.iter().enumerate() {
        let same = |other: &DataKey| other.mark() == key.mark() && other == key;
        assert_eq!(keys.iter().filter(|other| same(other)).count(), 1, "key {number}");
        assert!(!key.0.windows(8).any(|window| window == key.mark()));
    }
    // As RFC 8439 has it: the block of a counter, with the chunk's number where the nonce begins.
    let mut bytes = [0; 64];
    DataKey(Zeroizing::new([0; 32])).apply(0, 0, &mut bytes);
    assert_eq!(hex::encode(&bytes[..16]), "76b8e0ada0f13d90405d6ae55386bd28");
}

proptest! {
    #[test]
    fn any_stretch_of_a_chunk_is_that_of_the_whole(
        data in proptest::collection::vec(any::<u8>(), 1..5000),
        chunk in any::<u32>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut whole = data.clone();
        key().apply(chunk, 0, &mut whole);
        let at = cut.index(data.len());
        let mut rest = data[at..].to_vec();
        key().apply(chunk, at, &mut rest);
        prop_assert_eq!(&whole[at..], &rest[..]);
        let mut other = data.clone();
        key().apply(chunk.wrapping_add(1), 0, &mut other);
        prop_assert!(data.len() < 8 || whole != other);
        key().apply(chunk, 0, &mut whole);
        prop_assert_eq!(whole, data);
    }
}
