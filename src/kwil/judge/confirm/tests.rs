use super::*;
use crate::formats::key::{KeyType, PrivateKey};

fn state<'a>(name: &'a str, rows: u64, digest: u8) -> TableState<'a> {
    TableState { name, columns: &[], rows, digest: Blake3Hash::from_bytes([digest; 32]) }
}

fn resolution(id: u8, kind: &str, expiration: i64) -> Resolution {
    Resolution { id: Box::from([id]), kind: format!("\\\\x{kind}").into_bytes().into(), expiration, rest: [id; 32] }
}

fn voter(seed: u8, power: i64) -> Validator {
    let key = PrivateKey::from_seed(KeyType::Ed25519, &[seed; 32]).unwrap().public();
    Validator::new(key, power).unwrap()
}

const PARAMS: &str = "9915e8495be6599297b7dc83875efb9b";
const JOIN: &str = "a05a316cc7f7557dab180c69acdaecdd";

fn facts(nonces: u128, resolutions: &[Resolution], votes: &[u8]) -> StateFacts {
    StateFacts {
        resolutions: Some(resolutions.iter().cloned().collect()),
        votes: Some(votes.iter().map(|id| (Box::from([*id]), Box::from([7]))).collect()),
        nonces: Some(nonces),
        lowered_by: Some(50),
    }
}

fn parts(all: &[(&str, u8)]) -> Vec<SchemaPart> {
    let part = |(name, digest): &(&str, u8)| SchemaPart {
        name: (*name).to_owned(),
        digest: Blake3Hash::from_bytes([*digest; 32]),
    };
    all.iter().map(part).collect()
}

/// Two states that are what a healthy start makes of one another; tests change them.
struct World {
    family: Family,
    then: Vec<TableState<'static>>,
    there: Vec<TableState<'static>>,
    file: Option<StateFacts>,
    database: StateFacts,
    /// What the file's text makes, and what the database has.
    schemas: [Vec<SchemaPart>; 2],
    validators: [BTreeSet<Validator>; 2],
    allocs: u64,
    owner: [Option<&'static str>; 2],
    counted: Option<(u64, u64)>,
}

impl World {
    fn new() -> Self {
        let then = vec![
            state("kwild_accts.accounts", 9, 1),
            state("kwild_voting.resolution_types", 8, 2),
            state("kwild_voting.resolutions", 2, 3),
            state("kwild_voting.votes", 2, 4),
            state("kwild_engine.user_roles", 2, 5),
            state("kwil_erc20_meta.meta", 1, 6),
            state("kwild_voting._kwil_version", 1, 7),
            state("shop.t", 80, 8),
        ];
        let mut there = then.clone();
        there[2] = state("kwild_voting.resolutions", 1, 30);
        there[3] = state("kwild_voting.votes", 1, 40);
        let voters: BTreeSet<Validator> = [voter(1, 1), voter(2, 2)].into();
        World {
            family: Family::V010,
            then,
            there,
            file: Some(facts(5, &[resolution(1, PARAMS, 1000), resolution(2, JOIN, 1000)], &[1, 2])),
            database: facts(5, &[resolution(1, PARAMS, 950)], &[1]),
            schemas: [
                parts(&[("index i of shop.t", 1), ("table kwil_erc20_meta.meta", 1), ("table shop.t", 1)]),
                parts(&[("index i of shop.t", 1), ("table kwild_chain.chain", 1), ("table shop.t", 1)]),
            ],
            validators: [voters.clone(), voters],
            allocs: 0,
            owner: [Some("0xAA"), Some("0xAA")],
            counted: Some((1, 1)),
        }
    }

    fn set(&mut self, name: &'static str, rows: u64) {
        self.there.retain(|t| t.name != name);
        self.there.push(state(name, rows, 99));
    }

    fn judge(&self) -> Judgement {
        let signed = SignedState {
            family: self.family,
            tables: self.then.clone(),
            facts: self.file.as_ref(),
            schema: self.file.as_ref().map(|_| &*self.schemas[0]),
            validators: Some(self.validators[0].clone()),
            allocs: self.allocs,
            owner: self.owner[0],
        };
        let found = FoundState {
            tables: self.there.clone(),
            facts: &self.database,
            schema: Some(&self.schemas[1]),
            validators: self.validators[1].clone(),
            height: 3,
            owner: self.owner[1],
            unix_seconds: 900,
        };
        judge::<()>(&signed, &found, &mut |_| Ok(self.counted.filter(|_| self.file.is_some()))).unwrap()
    }

    fn part(&self, name: &str) -> (Verdict, String) {
        let judgement = self.judge();
        let part = judgement.parts.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("{judgement:?}"));
        (part.verdict, part.text.clone())
    }

    #[track_caller]
    fn is(&self, name: &str, verdict: Verdict) {
        assert_eq!(self.part(name).0, verdict, "{:?}", self.part(name));
    }
}

#[test]
fn a_healthy_start_is_kwilds_own_doing() {
    let world = World::new();
    let judgement = world.judge();
    assert_eq!((judgement.verdict(), judgement.transactions), (Verdict::Kwild, Some(0)), "{judgement:?}");
    assert!(!judgement.not_restored);
    world.is("kwild_voting.resolutions", Verdict::Kwild);
    world.is("shop.t", Verdict::Equal);
    world.is("definitions", Verdict::Equal);
}

#[test]
fn without_transactions_every_other_difference_is_damage() {
    for (name, rows) in [("shop.t", 80), ("shop.t", 0), ("kwild_accts.accounts", 9), ("kwild_engine.user_roles", 3)] {
        let mut world = World::new();
        world.set(name, rows);
        if name == "kwild_engine.user_roles" {
            world.counted = Some((2, 3));
        }
        world.is(name, Verdict::Damage);
        assert_eq!(world.judge().verdict(), Verdict::Damage);
    }
    let mut world = World::new();
    world.there.retain(|t| t.name != "kwild_engine.user_roles");
    world.is("kwild_engine.user_roles", Verdict::Damage);
    let mut world = World::new();
    world.set("shop.other", 1);
    world.is("shop.other", Verdict::Damage);
}

#[test]
fn added_rows_are_damage_too_before_any_transaction() {
    let mut world = World::new();
    world.set("shop.t", 81);
    world.counted = Some((0, 1));
    world.is("shop.t", Verdict::Damage);
}

#[test]
fn after_transactions_nobody_can_tell_but_rows_that_were_only_added() {
    let mut world = World::new();
    world.database.nonces = Some(6);
    world.set("kwild_accts.accounts", 9);
    world.set("shop.t", 80);
    world.is("shop.t", Verdict::Unclear);
    world.is("kwild_accts.accounts", Verdict::Grown);
    assert!(world.part("shop.t").1.contains("1 transaction"), "{:?}", world.part("shop.t"));
    world.counted = Some((0, 3));
    world.is("shop.t", Verdict::Grown);
    world.counted = Some((9, 9));
    world.is("kwild_accts.accounts", Verdict::Unclear);
}

#[test]
fn without_the_file_equal_accounts_still_say_that_there_was_no_transaction() {
    let mut world = World::new();
    world.file = None;
    assert_eq!(world.judge().transactions, Some(0));
    assert_eq!(world.judge().verdict(), Verdict::Kwild);
    world.set("shop.t", 80);
    world.is("shop.t", Verdict::Damage);
    world.set("kwild_accts.accounts", 9);
    assert_eq!(world.judge().transactions, None);
    world.is("shop.t", Verdict::Unclear);
}

#[test]
fn a_nonce_that_fell_is_no_transaction() {
    let mut world = World::new();
    world.database.nonces = Some(4);
    world.set("kwild_accts.accounts", 9);
    world.is("kwild_accts.accounts", Verdict::Damage);
}

#[test]
fn an_empty_chain_is_told_from_a_lost_table() {
    let mut world = World::new();
    world.there.retain(|t| t.name != "shop.t");
    assert!(world.judge().not_restored);
    world.set("shop.t", 0);
    assert!(!world.judge().not_restored);
    world.is("shop.t", Verdict::Damage);
}

#[test]
fn proposals_are_followed_through_kwilds_rules() {
    let with = |proposals: &[Resolution]| {
        let mut world = World::new();
        world.database.resolutions = Some(proposals.iter().cloned().collect());
        world
    };
    // Not lowered, changed, or gone before its time.
    with(&[resolution(1, PARAMS, 1000)]).is("kwild_voting.resolutions", Verdict::Damage);
    with(&[]).is("kwild_voting.resolutions", Verdict::Damage);
    with(&[resolution(1, PARAMS, 950), resolution(9, PARAMS, 999)]).is("kwild_voting.resolutions", Verdict::Damage);
    let old = with(&[resolution(1, PARAMS, 950), resolution(2, JOIN, 950)]);
    assert!(old.part("kwild_voting.resolutions").1.contains("filled by hand"), "{old:?}", old = old.judge());
    let mut expired = with(&[]);
    expired.file = Some(facts(5, &[resolution(1, PARAMS, 950), resolution(2, JOIN, 1000)], &[1, 2]));
    expired.database.votes = Some(BTreeSet::new());
    expired.is("kwild_voting.resolutions", Verdict::Kwild);
    expired.is("kwild_voting.votes", Verdict::Kwild);
    let mut later = with(&[]);
    later.database.nonces = Some(8);
    later.set("kwild_accts.accounts", 9);
    later.is("kwild_voting.resolutions", Verdict::Unclear);
    // v0.9 counts blocks: at height 3 nothing of 950 has expired.
    let mut v09 = with(&[]);
    v09.family = Family::V09;
    v09.file = Some(facts(5, &[resolution(1, PARAMS, 53), resolution(2, JOIN, 1000)], &[1, 2]));
    v09.is("kwild_voting.resolutions", Verdict::Kwild);
    v09.file = Some(facts(5, &[resolution(1, PARAMS, 54), resolution(2, JOIN, 1000)], &[1, 2]));
    v09.is("kwild_voting.resolutions", Verdict::Damage);
}

#[test]
fn a_vote_on_a_pending_proposal_must_be_there() {
    let mut world = World::new();
    world.database.votes = Some(BTreeSet::new());
    world.is("kwild_voting.votes", Verdict::Damage);
    world.database.votes = Some([1, 5].map(|id| (Box::from([id]), Box::from([7_u8]) as Box<[u8]>)).into());
    world.is("kwild_voting.votes", Verdict::Damage);
}

#[test]
fn what_the_genesis_and_a_newer_kwild_change_is_no_damage() {
    let mut world = World::new();
    world.set("kwild_engine.user_roles", 2);
    world.is("kwild_engine.user_roles", Verdict::Kwild);
    world.owner = [Some("0xBB"), Some("0xAA")];
    world.is("kwild_engine.user_roles", Verdict::Damage);
    let mut world = World::new();
    world.set("kwild_accts.accounts", 9);
    world.is("kwild_accts.accounts", Verdict::Damage);
    world.allocs = 1;
    world.is("kwild_accts.accounts", Verdict::Kwild);
    let mut world = World::new();
    world.set("kwil_erc20_meta.meta", 1);
    world.set("kwil_erc20_meta.withdrawals", 0);
    world.set("kwild_voting._kwil_version", 1);
    world.counted = Some((0, 1));
    world.set("kwild_voting.resolution_types", 9);
    assert_eq!(world.judge().verdict(), Verdict::Kwild, "{:?}", world.judge());
    world.counted = Some((1, 1));
    world.is("kwild_voting.resolution_types", Verdict::Damage);
}

#[test]
fn validators_and_definitions_count_as_well() {
    let mut world = World::new();
    world.validators[1].insert(voter(3, 5));
    world.is("validators", Verdict::Damage);
    let no_transaction = "; no transaction has been made";
    for (there, said) in [
        (&[("table kwild_chain.chain", 1), ("table shop.t", 1)][..], "missing: index i of shop.t"),
        (&[("index i of shop.t", 2), ("table shop.t", 1)], "not as signed: index i of shop.t"),
        (
            &[("constraint c of shop.t", 1), ("index i of shop.t", 1), ("table shop.t", 1)],
            "not signed: constraint c of shop.t",
        ),
    ] {
        let mut world = World::new();
        world.schemas[1] = parts(there);
        assert_eq!(world.part("definitions"), (Verdict::Damage, format!("{said}{no_transaction}")));
    }
    // With transactions an index that was added is theirs; what is missing may be damage.
    let mut world = World::new();
    world.set("kwild_accts.accounts", 9);
    world.database.nonces = Some(6);
    world.schemas[1] = parts(&[("index i of shop.t", 1), ("index j of shop.t", 1), ("table shop.t", 1)]);
    world.is("definitions", Verdict::Grown);
    world.schemas[1] = parts(&[("index j of shop.t", 1), ("table shop.t", 1)]);
    world.is("definitions", Verdict::Unclear);
    // What of its own a newer kwild changes is no damage; what of it is missing is.
    let mut world = World::new();
    world.schemas = [("table kwild_accts.accounts", 1), ("table kwild_accts.accounts", 2)].map(|part| parts(&[part]));
    world.is("definitions", Verdict::Equal);
    world.schemas[1].clear();
    world.is("definitions", Verdict::Damage);
}
