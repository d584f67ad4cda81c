//! Whether somebody answers where the node would dial.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use kwil_formats::{
    formats::config::PeerAddress,
    judge::readiness::{Peers, Reach},
};
use tokio::{net::TcpStream, time::timeout};

/// How long a name, and then a connection may take: the whole check takes less than two seconds.
const STEP_TIME_MAX: Duration = Duration::from_millis(600);
/// Peers that are dialled; the rest is judged by its form.
const DIALLED_MAX: usize = 32;

/// Dials the first of these, all at once; nothing is said to whoever answers.
pub(super) async fn dial(mut peers: Peers) -> Peers {
    let tried = join_all(peers.dials.iter().take(DIALLED_MAX).map(|(peer, _)| try_peer(peer))).await;
    for ((_, reach), found) in peers.dials.iter_mut().zip(tried) {
        *reach = found;
    }
    peers
}

async fn try_peer(peer: &PeerAddress) -> Reach {
    let addresses: Vec<SocketAddr> =
        match timeout(STEP_TIME_MAX, tokio::net::lookup_host((peer.host(), peer.port()))).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(e)) => return Reach::NoSuchName(e.to_string()),
            // A name server that is slow now may be quick when kwild asks.
            Err(_) => return Reach::Silent("its name server does not answer".to_owned()),
        };
    match timeout(STEP_TIME_MAX, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Reach::Answers,
        Ok(Err(e)) => Reach::Silent(error_in_words(&e)),
        Err(_) => Reach::Silent("no answer".to_owned()),
    }
}

fn error_in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kwil_formats::formats::Family;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_answers_and_who_does_not() {
        let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let places = [
            here.local_addr().unwrap().to_string(),
            gone.local_addr().unwrap().to_string(),
            "nobody.invalid:1".to_owned(),
        ];
        drop(gone);
        let id = "56475aa75463474c0285df5dbf2bcab73da65135";
        let dials = places
            .iter()
            .map(|place| (PeerAddress::parse(Family::V09, &format!("{id}@{place}")).unwrap(), Reach::Untried));
        let found = dial(Peers { others: vec![], dials: dials.collect() }).await;
        let reaches: Vec<&Reach> = found.dials.iter().map(|(_, reach)| reach).collect();
        assert_eq!(reaches[..2], [&Reach::Answers, &Reach::Silent("refused".to_owned())]);
        // A machine without a name server cannot tell that a name is nobody's.
        assert!(!matches!(reaches[2], Reach::Answers | Reach::Untried), "{:?}", reaches[2]);
    }
}
