//! What psql makes of a text: run as kwild runs it, against a server of ours that notes what it is sent and grants all.

use std::{
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::{Command, Stdio},
    thread,
};

use kwil_formats::dump::scan::inside::{Piece, is_copy};

use super::server;

/// What psql sent, in its order, and how it ended.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) status: Option<i32>,
}

/// Pipes a text into psql.
pub(crate) fn run(text: &[u8]) -> Sent {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
    // For trying others than the newest on the machine.
    let program = std::env::var_os("REGENESIS_TEST_PSQL").map_or_else(|| server().program("psql"), Into::into);
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("HOME", directory.path()).env("LC_ALL", "C").arg("--host").arg(directory.path());
    command.args(["--username", "kwild", "--port", "5432", "--dbname", "kwild", "--no-password"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // psql may end before it has read all.
            let _ = input.write_all(text);
        });
        let pieces = scope.spawn(move || serve(&mut listener.accept().unwrap().0).unwrap());
        let status = child.wait().unwrap().code();
        Sent { pieces: pieces.join().unwrap(), status }
    })
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Reads one message's kind and body; nothing at the connection's end.
fn receive(stream: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 5];
    match stream.read_exact(&mut head) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body)?;
    Ok(Some((head[0], body)))
}

fn serve(stream: &mut UnixStream) -> io::Result<Vec<Piece>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut startup)?;
    let mut reader = io::BufReader::new(stream.try_clone()?);
    let mut hello = message(b'R', &[0; 4]);
    for (name, value) in [
        ("server_version", "16.9"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
    ] {
        hello.extend(message(b'S', format!("{name}\0{value}\0").as_bytes()));
    }
    hello.extend(message(b'K', &[0; 8]));
    let ready = message(b'Z', b"I");
    hello.extend_from_slice(&ready);
    stream.write_all(&hello)?;
    let done = [message(b'C', b"OK\0"), ready].concat();
    let mut pieces = Vec::new();
    while let Some((kind, mut body)) = receive(&mut reader)? {
        if kind != b'Q' {
            break;
        }
        body.pop();
        let copy = is_copy(&body);
        pieces.push(Piece::Statement(body));
        if copy {
            stream.write_all(&message(b'G', &[0, 0, 0]))?;
            let mut rows = Vec::new();
            loop {
                match receive(&mut reader)? {
                    Some((b'd', data)) => rows.extend(data),
                    Some((b'c', _)) => break,
                    _ => return Ok(pieces),
                }
            }
            // Some versions send the line that ends a block, too.
            if rows.ends_with(b"\\.\n") && (rows.len() == 3 || rows.ends_with(b"\n\\.\n")) {
                rows.truncate(rows.len() - 3);
            }
            pieces.push(Piece::Rows(rows));
        }
        stream.write_all(&done)?;
    }
    Ok(pieces)
}
