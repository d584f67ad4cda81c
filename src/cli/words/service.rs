//! How a node stands, in one line for the service manager.

use crate::{
    app::status::Status,
    base::text::{self, count},
};

/// One line, the most important part first.
pub(crate) fn line(status: &Status) -> String {
    let node = &status.node;
    let mut parts = Vec::new();
    if let Some(seconds) = node.stalled_seconds {
        parts.push(format!("nothing has come for {seconds} s"));
    }
    let lost = status.attestations.iter().map(|all| all.dissent).sum::<usize>();
    if lost > 0 {
        parts.push(format!("{} of another state", count(lost as u64, "validator")));
    }
    match (node.complete, node.total_bytes) {
        (true, _) => parts.push(match status.chunks.as_ref() {
            Some(chunks) if chunks.out => "serving, every chunk is with two others".to_owned(),
            Some(chunks) if chunks.count > 0 => {
                format!("serving, {}% of the first copies are out", chunks.first_copies() * 100 / chunks.count)
            }
            _ => "serving".to_owned(),
        }),
        (false, 0) => parts.push("looking for the swarm".to_owned()),
        (false, total) => {
            let percent = u128::from(node.have_bytes) * 100 / u128::from(total);
            parts.push(format!("{percent}% of {}", text::bytes(total)));
        }
    }
    parts.push(count(status.members.len() as u64, "member"));
    if let Some(ready) = &status.readiness {
        let quorum = if ready.quorum { ", enough for blocks" } else { "" };
        parts.push(format!("{} of {} ready{quorum}", ready.ready, ready.validators));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::{Attestations, Chunks, Own, Readiness};

    #[test]
    fn a_line_tells_what_matters() {
        assert_eq!(line(&Status::default()), "looking for the swarm; 0 members");
        let node = Own { have_bytes: 50, total_bytes: 200, stalled_seconds: Some(9), ..Own::default() };
        let mut status = Status { node, ..Status::default() };
        assert_eq!(line(&status), "nothing has come for 9 s; 25% of 200 B; 0 members");
        status.node = Own { complete: true, total_bytes: 200, ..Own::default() };
        status.chunks = Some(Chunks { count: 8, single: 6, ..Chunks::default() });
        status.readiness = Some(Readiness { ready: 3, validators: 4, quorum: true, ..Readiness::default() });
        assert_eq!(
            line(&status),
            "serving, 25% of the first copies are out; 0 members; 3 of 4 ready, enough for blocks"
        );
        status.attestations = Some(Attestations { dissent: 1, ..Attestations::default() });
        assert!(line(&status).starts_with("1 validator of another state; serving"));
    }
}
