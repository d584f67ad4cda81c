//! How a node is asked over its status address, from anywhere: one HTTP request, one answer of bounded bytes and time. What comes from
//! another machine is made harmless before anybody shows it.

use std::{fmt, str::FromStr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{Status, socket};
use crate::base::{Context, Error, Result, limits, text};

/// How long the whole conversation may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer's head.
const HEAD_SIZE_BYTES_MAX: usize = 16 << 10;
/// Characters of one text in a status, and of the piece in which it is made harmless.
const TEXT_CHARS_MAX: usize = 1000;
const PIECE_CHARS: usize = 200;

/// Where a node's page is, with the token that opens it where there is one: what the node told, whole or without `http://`.
#[derive(Clone)]
pub struct Address {
    place: String,
    token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(given: &str) -> std::result::Result<Self, String> {
        let rest = match given.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err("a node speaks http, and nothing else".to_owned()),
            None => given,
        };
        let (place, query) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = place.rsplit_once(':').ok_or("expected HOST:PORT, as the node told it")?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '%');
        if host.is_empty() || !host.chars().all(is_host) || port.parse::<u16>().is_err() {
            return Err("expected HOST:PORT, as the node told it".to_owned());
        }
        let token =
            query.strip_prefix('?').into_iter().flat_map(|q| q.split('&')).find_map(|q| q.strip_prefix("token="));
        if token.is_some_and(|token| token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return Err("its token is none: it has digits and letters only".to_owned());
        }
        Ok(Address { place: place.to_owned(), token: token.map(|token| Zeroizing::new(token.to_owned())) })
    }
}

/// How the node at this address stands.
pub(super) async fn ask(address: &Address) -> Result<Status> {
    let what = || format!("cannot ask the node at {}", address.place);
    let answer = match timeout(TIME_MAX, converse(address)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => {
            return Err(Error::failed(what())
                .because(e)
                .hint("look whether the node runs with a status address, and whether this machine reaches it there"));
        }
        Err(_) => {
            return Err(Error::failed(format!("{}: it does not answer", what()))
                .hint("look whether something else listens there, or a firewall stands between"));
        }
    };
    let (code, body) = read(&answer).ok_or_else(|| {
        Error::failed(format!("{}: what answers there is no node of this program", what()))
            .hint("give the address that the node told as its status page")
    })?;
    match code {
        200 => {}
        401 => {
            return Err(Error::failed(format!("{}: it wants its token", what()))
                .hint("give the whole address that the node told as its status page, with the token"));
        }
        421 => {
            return Err(Error::failed(format!("{}: it answers no request under a name", what()))
                .hint("give its address in numbers, or let it listen on an address that others reach"));
        }
        code => {
            return Err(Error::failed(format!("{}: it answered with code {code}", what()))
                .hint("give the address that the node told as its status page"));
        }
    }
    // A status is read as one that this machine's own nodes give, once no text in it drives a terminal.
    let mut value: Value = serde_json::from_slice(body).or_failed(|| format!("{}: its answer is no status", what()))?;
    disarm(&mut value);
    let text = serde_json::to_vec(&value).or_failed(what)?;
    socket::read(&text).map_err(|e| Error::failed(what()).because(e.chain()))
}

async fn converse(address: &Address) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(&address.place).await?;
    let token = address.token.as_ref().map_or_else(Zeroizing::default, |token| {
        Zeroizing::new(format!("Authorization: Bearer {}\r\n", token.as_str()))
    });
    let request = Zeroizing::new(format!(
        "GET /api/v1/status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n",
        address.place,
        token.as_str()
    ));
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let max = limits::STATUS_SIZE_BYTES_MAX + HEAD_SIZE_BYTES_MAX + 1;
    stream.take(max as u64).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The code and the body of an answer.
fn read(answer: &[u8]) -> Option<(u16, &[u8])> {
    let head_end = answer.windows(4).take(HEAD_SIZE_BYTES_MAX).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((code, &answer[head_end + 4..]))
}

/// Makes every text in it harmless to show.
fn disarm(value: &mut Value) {
    match value {
        Value::String(told) => {
            let chars: Vec<char> = told.chars().take(TEXT_CHARS_MAX).collect();
            *told = chars.chunks(PIECE_CHARS).map(|piece| text::escape(&piece.iter().collect::<String>())).collect();
        }
        Value::Array(all) => all.iter_mut().for_each(disarm),
        Value::Object(all) => all.values_mut().for_each(disarm),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_is_what_the_node_told() {
        let address: Address = "http://192.0.2.1:9184/?token=0123abcd".parse().unwrap();
        assert_eq!((address.place.as_str(), address.token.unwrap().as_str()), ("192.0.2.1:9184", "0123abcd"));
        for (given, place) in [("localhost:1", "localhost:1"), ("http://[::1]:9184/", "[::1]:9184")] {
            let address: Address = given.parse().unwrap();
            assert_eq!((address.place.as_str(), address.token.is_none()), (place, true));
        }
        for wrong in ["https://a:1", "a", "a:b", ":1", "a\r\nX: b:1", "a:1/?token=", "a:1/?token=x\r\nEvil: y"] {
            wrong.parse::<Address>().unwrap_err();
        }
        let address: Address = "a:1/?token=0123abcd".parse().unwrap();
        assert!(!format!("{address:?}").contains("0123"));
    }

    /// What somebody who listens there answers to whoever asks.
    async fn told(answer: String) -> Result<Status> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let stranger = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            // Who has heard enough goes.
            let _ = stream.write_all(answer.as_bytes()).await;
        };
        tokio::join!(ask(&address), stranger).0
    }

    #[tokio::test]
    async fn what_a_stranger_answers_is_bounded_and_harmless() {
        let map = "9".repeat(600);
        let evil = json!({"version": 1, "log": ["\u{1b}[2J\u{202e}", map], "node": {"doing": "a\nb"}});
        let status = told(format!("HTTP/1.1 200 OK\r\n\r\n{evil}")).await.unwrap();
        assert_eq!(status.log, ["\\u{1b}[2J\\u{202e}", map.as_str()]);
        assert_eq!(status.node.doing, "a\\u{a}b");
        for (answer, words) in [
            ("HTTP/1.1 401 Unauthorized\r\n\r\n".to_owned(), "wants its token"),
            ("HTTP/1.1 500 No\r\n\r\n".to_owned(), "code 500"),
            ("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), "is no node"),
            ("HTTP/1.1 200 OK\r\n\r\n{}".to_owned(), "no status"),
            ("HTTP/1.1 200 OK\r\n\r\n{\"version\":9}".to_owned(), "another version"),
            (format!("HTTP/1.1 200 OK\r\n\r\n\"{}\"", "a".repeat(limits::STATUS_SIZE_BYTES_MAX)), "no status"),
        ] {
            let said = told(answer).await.unwrap_err().chain();
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
