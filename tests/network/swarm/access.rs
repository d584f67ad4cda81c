//! Who is let in of those who know the secret: by whose they show to be, and not by what they show of others.

use std::time::Duration;

use kwil_formats::formats::key::{KeyType, PrivateKey, PublicKey};
use libp2p::identity::Keypair;
use regenesis::{
    base::limits::{BINDINGS_SHOWN_MAX, STATEMENT_SIZE_BYTES_MAX, UNIX_SECONDS_MAX},
    manifest::Binding,
    swarm::{self, Allow, Config, Identity, Standing, short_peer},
};

use super::{
    hostile::{Hostile, Say, Visitor, introduce, prove, read, wire},
    world::*,
};

fn validator(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(if seed.is_multiple_of(2) { KeyType::Ed25519 } else { KeyType::Secp256k1 }, &[seed; 32])
        .unwrap()
}

/// A node's binding, which a validator is still to sign.
fn binding(peer: &str) -> Binding {
    Binding {
        node: PublicKey::from_peer_id(peer).unwrap(),
        created_unix_seconds: 0,
        not_after_unix_seconds: UNIX_SECONDS_MAX,
        new_chain_id: Some(CHAIN_ID.to_owned()),
    }
}

fn bound(peer: &str, seed: u8) -> Vec<u8> {
    binding(peer).sign(&validator(seed)).unwrap()
}

fn id(key: &Keypair) -> String {
    key.public().to_peer_id().to_string()
}

fn standing(listed: &[u8], barred: &[u8]) -> Standing {
    let keys = |seeds: &[u8]| seeds.iter().map(|seed| validator(*seed).public()).collect();
    Standing { listed: keys(listed), barred: keys(barred) }
}

/// A seed that lets only validators in, and knows these.
async fn seed_for(world: &World, listed: &[u8]) -> Seed {
    let allow = Allow { listed: true, ..Allow::default() };
    let seed = seed(world, Config { allow, ..world.config(TCP, &[]) }).await;
    seed.handle.stand(standing(listed, &[])).await.unwrap();
    seed
}

/// A fetcher with an identity, and the bindings that it shows.
fn fetcher(world: &World, seed: &Seed, bindings: impl Fn(&str) -> Vec<Vec<u8>>) -> Config {
    let identity = Identity::generate();
    let bindings = bindings(&identity.peer_id());
    Config { identity, bindings, ..world.config(TCP, std::slice::from_ref(&seed.address)) }
}

/// A member with a new identity that shows what is made of its peer id.
async fn enter(world: &World, address: &str, shown: impl Fn(&str) -> Vec<u8>) -> Hostile {
    let key = Keypair::generate_ed25519();
    let shown = shown(&id(&key));
    Hostile::enter_with(address, world, key, vec![shown]).await
}

/// The reason that a member hears which is not let in.
async fn refusal(mut hostile: Hostile) -> String {
    match hostile.hears(|said| matches!(said, Say::Goodbye(_))).await {
        Say::Goodbye(goodbye) if goodbye.not_let_in => goodbye.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_validators_are_let_in_and_both_sides_say_why_others_are_not() {
    let world = World::new(3);
    within(async {
        let mut seed = seed_for(&world, &[1, 2]).await;
        for one in [1, 2] {
            let dir = tempfile::tempdir().unwrap();
            let config = fetcher(&world, &seed, |peer| vec![bound(peer, 9), bound(peer, one)]);
            fetch(&world, config, dir.path(), now()).await.unwrap();
        }
        for (shown, why) in [(None, "has not shown whose it is".to_owned()), (Some(3), validator(3).public().short())] {
            let config = fetcher(&world, &seed, |peer| shown.map(|one| bound(peer, one)).into_iter().collect());
            let short = short_peer(&config.identity.peer_id());
            let mut other = swarm::start(config).await.unwrap();
            says(&mut other, &["does not let this node in", &why]).await;
            says(&mut seed.handle, &["is not let in", &short, &why]).await;
            assert!(seed.handle.viewer().view().await.unwrap().members.is_empty());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_over_elsewhere_or_no_binding_lets_nobody_in() {
    let world = World::new(3);
    within(async {
        let seed = seed_for(&world, &[1]).await;
        let sign = |binding: Binding| binding.sign(&validator(1)).unwrap();
        let refused = async |why: &str, shown: &dyn Fn(&str) -> Vec<u8>| {
            let reason = refusal(enter(&world, &seed.address, shown).await).await;
            assert!(reason.contains("a binding that it shows does not count") && reason.contains(why), "{reason}");
        };
        refused("about another node", &|_| bound(&seed.id, 1)).await;
        refused("ended at 1970", &|peer| sign(Binding { not_after_unix_seconds: 5, ..binding(peer) })).await;
        let elsewhere = Some("kwil-3".to_owned());
        let other_network = |peer: &str| sign(Binding { new_chain_id: elsewhere.clone(), ..binding(peer) });
        refused("the swarm of another network", &other_network).await;
        let forged = |peer: &str| {
            let mut bytes = bound(peer, 1);
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        refused("does not hold", &forged).await;
        refused("no statement", &|_| vec![7; STATEMENT_SIZE_BYTES_MAX]).await;
        refused("no statement", &|_| vec![]).await;
        // What a good one says, its owner may show again and again.
        let key = Keypair::generate_ed25519();
        for _ in 0..3 {
            let shown = vec![bound(&id(&key), 1); BINDINGS_SHOWN_MAX];
            Hostile::enter_with(&seed.address, &world, key.clone(), shown).await.gets_the_manifest().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_introduces_itself_never_or_at_length_holds_nobody_up() {
    let world = World::new(3);
    within(async {
        let seed = seed_for(&world, &[1]).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut visitor = Visitor::connect(&seed.address, Keypair::generate_ed25519()).await.unwrap();
            let mut session = visitor.open_session().await.unwrap();
            prove(&mut session, &world, SECRET, visitor.us, visitor.them).await.unwrap();
            held.push((visitor, session));
        }
        for many in
            [vec![vec![]; BINDINGS_SHOWN_MAX + 1], vec![vec![0; STATEMENT_SIZE_BYTES_MAX + 1]], vec![vec![0; 1 << 20]]]
        {
            let mut visitor = Visitor::connect(&seed.address, Keypair::generate_ed25519()).await.unwrap();
            let mut session = visitor.open_session().await.unwrap();
            prove(&mut session, &world, SECRET, visitor.us, visitor.them).await.unwrap();
            // The node shows its own, which are none, and ends the stream.
            let _ = introduce(&mut session, many).await;
            while let Ok(heard) = read::<wire::Control>(&mut session).await {
                // An introduction that was not read above.
                assert_eq!(heard.message, None);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let config = fetcher(&world, &seed, |peer| vec![bound(peer, 1)]);
        let fetched = tokio::time::timeout(Duration::from_secs(30), fetch(&world, config, dir.path(), now()));
        fetched.await.expect("in time").unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_manifest_is_known_nobody_but_the_tickets_peers_comes_in() {
    let world = World::new(3);
    within(async {
        let lead = seed(&world, world.config(TCP, &[])).await;
        let allow = Allow { listed: true, ..Allow::default() };
        // It dials the ticket's peer, who shows nothing, and is none the less served.
        let config = Config { allow, ..world.config(TCP, std::slice::from_ref(&lead.address)) };
        let mut node = swarm::start(config).await.unwrap();
        let address = listening(&mut node).await;
        says(&mut node, &["connected to", &short_peer(&lead.id)]).await;
        let reason = refusal(enter(&world, &address, |peer| bound(peer, 1)).await).await;
        assert!(reason.contains("not known here yet"), "{reason}");
        node.stand(standing(&[1], &[])).await.unwrap();
        let member = enter(&world, &address, |peer| bound(peer, 1)).await;
        says(&mut node, &["connected to", &short_peer(&member.id())]).await;
        assert_eq!(node.viewer().view().await.unwrap().members.len(), 2, "the ticket's peer is still here");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_whose_access_is_taken_back_has_to_go_and_stays_out_under_every_identity() {
    let world = World::new(3);
    within(async {
        // Also where every member is let in.
        for allow in [Allow::default(), Allow { listed: true, ..Allow::default() }] {
            let mut seed = seed(&world, Config { allow, ..world.config(TCP, &[]) }).await;
            seed.handle.stand(standing(&[1, 2], &[])).await.unwrap();
            let mut members = Vec::new();
            for one in [1, 1, 2] {
                let member = enter(&world, &seed.address, |peer| bound(peer, one)).await;
                says(&mut seed.handle, &["connected to", &short_peer(&member.id())]).await;
                members.push(member);
            }
            seed.handle.stand(standing(&[1, 2], &[1])).await.unwrap();
            let other = members.pop().unwrap();
            members.push(enter(&world, &seed.address, |peer| bound(peer, 1)).await);
            for member in members {
                let reason = refusal(member).await;
                assert!(reason.contains("taken the access"), "{reason}");
            }
            other.gets_the_manifest().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_survives_a_new_identity_of_the_same_validator() {
    let world = World::new(3);
    within(async {
        let mut seed = seed_for(&world, &[1, 2]).await;
        let first = enter(&world, &seed.address, |peer| bound(peer, 1)).await;
        says(&mut seed.handle, &["connected to", &short_peer(&first.id())]).await;
        seed.handle.blame(&first.id(), "it sent wrong bytes").await.unwrap();
        says(&mut seed.handle, &["was dropped and banned", "it sent wrong bytes"]).await;
        let reason = refusal(enter(&world, &seed.address, |peer| bound(peer, 1)).await).await;
        assert!(reason.contains("was banned not long ago"), "{reason}");
        let other = enter(&world, &seed.address, |peer| bound(peer, 2)).await;
        other.gets_the_manifest().await;
    })
    .await;
}
