//! What the operator of a node does next, as its status shows.

use super::{By, Role, Status};
use crate::{
    base::{Advice, Next},
    setup,
};

impl Status {
    /// What the operator does next.
    pub fn next(&self) -> Advice {
        self.step().into()
    }

    fn step(&self) -> Next {
        let by = self.estimate.limit.by;
        if self.attestations.as_ref().is_some_and(|attested| attested.verdict == "lost") {
            return Next::SettleDissent;
        }
        if by == By::Alarm {
            return Next::StopDifferingNode;
        }
        let quorum = self.readiness.as_ref().is_some_and(|ready| ready.quorum);
        if !self.running {
            return match self.node.role {
                // What was seen last still stands.
                Some(Role::Join) if self.dissents() => Next::OwnDissent,
                Some(_) if quorum => self.start_together(),
                Some(Role::Join) => Next::FetchAgain,
                _ => self.step_of_directory(),
            };
        }
        let out = self.chunks.as_ref().is_some_and(|chunks| chunks.out);
        match (by, self.node.role) {
            (By::NoMember, Some(Role::Publish | Role::Seed)) => Next::GiveTicket,
            (By::NoMember, _) => Next::CheckReach,
            (By::Silence, _) if !self.estimate.limit.who.is_empty() => {
                Next::AskThem { who: self.estimate.limit.who.clone() }
            }
            (By::NobodyHasIt, Some(Role::Publish | Role::Seed)) => Next::SignedFileOrAnew,
            (By::NobodyHasIt | By::Silence, _) => Next::AskWhetherLeadServes,
            (_, Some(Role::Join)) if self.dissents() => Next::OwnDissent,
            (_, Some(Role::Publish | Role::Seed)) if !quorum && self.lacks_own_root() => Next::JoinToo,
            (_, Some(Role::Publish | Role::Seed)) if !out && !quorum => Next::KeepServing,
            (By::Signature, _) => Next::CosignInSwarm,
            (By::Attestation, _) => Next::WaitForAttestations,
            (By::Still | By::Line, Some(Role::Publish | Role::Seed)) => {
                Next::AskThem { who: self.estimate.limit.who.clone() }
            }
            (_, _) if quorum => self.start_together(),
            (By::Readiness, Some(Role::Publish | Role::Seed)) => Next::WaitOrLeave,
            (By::Readiness, _) => Next::WaitForOthers { directory: self.directory() },
            (_, Some(Role::Publish | Role::Seed)) => Next::MayLeave,
            (_, _) => Next::LetItRun,
        }
    }

    fn start_together(&self) -> Next {
        let root = self.node.directory.as_deref().filter(|_| self.node.role == Some(Role::Join));
        Next::StartTogether { root: root.map(setup::shell_path) }
    }

    fn step_of_directory(&self) -> Next {
        // A root that is still being made of the files is no place to serve from.
        let unfinished = self.node.directory.as_deref().is_some_and(setup::is_staging);
        match (self.node.pid, self.node.complete && !unfinished) {
            (Some(_), _) => Next::AskAgain,
            (None, true) => Next::ServeAgain { directory: self.directory() },
            (None, false) if self.on_media.coming_chunks + self.on_media.asked_chunks > 0 => {
                Next::ImportWhatComes { directory: self.directory() }
            }
            (None, false) => Next::FetchAgain,
        }
    }

    fn directory(&self) -> String {
        self.node.directory.as_deref().map_or_else(|| "DIR".to_owned(), setup::shell_path)
    }

    /// This node's own validator is of the new network, is not ready, and no node of it that joins is here.
    fn lacks_own_root(&self) -> bool {
        let own = self.node.validator.as_deref();
        let mut seats = self.readiness.iter().flat_map(|all| &all.seats);
        own.is_some()
            && seats.any(|seat| !seat.ready && Some(&*seat.key) == own)
            && !self.members.iter().any(|member| member.validator.as_deref() == own)
    }

    /// This node's own validator has found another state, and has no root in spite of that.
    fn dissents(&self) -> bool {
        let own = self.node.validator.as_deref();
        let voices = self.attestations.iter().flat_map(|all| &all.voices);
        let seats = self.readiness.iter().flat_map(|all| &all.seats);
        voices.into_iter().any(|voice| voice.vote == "dissents" && Some(&*voice.key) == own)
            && !seats.into_iter().any(|seat| seat.ready && Some(&*seat.key) == own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::{Attestations, Chunks, Elector, Limit, Member, Own, Readiness, Seat};

    fn status(role: Role, by: By) -> Status {
        Status {
            running: true,
            node: Own { role: Some(role), ..Own::default() },
            estimate: crate::app::status::Estimate { limit: Limit { by, ..Limit::default() }, ..Default::default() },
            ..Status::default()
        }
    }

    #[test]
    fn the_lead_is_told_when_it_may_leave_and_when_not() {
        let mut lead = status(Role::Publish, By::Lines);
        lead.chunks = Some(Chunks { count: 9, single: 3, thin: 9, ..Chunks::default() });
        assert_eq!(lead.step(), Next::KeepServing);
        lead.chunks = Some(Chunks { count: 9, out: true, ..Chunks::default() });
        assert_eq!(lead.step(), Next::MayLeave);
        lead.estimate.limit = Limit { by: By::Still, who: vec!["a".to_owned()], ..Limit::default() };
        assert_eq!(lead.step(), Next::AskThem { who: vec!["a".to_owned()] });
        assert_eq!(status(Role::Publish, By::NoMember).step(), Next::GiveTicket);
    }

    #[test]
    fn a_lead_that_is_a_validator_is_told_to_join_as_well_until_it_does() {
        let mut lead = status(Role::Publish, By::OwnUplink);
        lead.chunks = Some(Chunks { count: 9, single: 3, thin: 9, ..Chunks::default() });
        let seat = |ready| Seat { key: "k".to_owned(), ready, ..Seat::default() };
        lead.readiness = Some(Readiness { seats: vec![seat(false)], ..Readiness::default() });
        assert_eq!(lead.step(), Next::KeepServing, "its key is no validator's");
        lead.node.validator = Some("k".to_owned());
        assert_eq!(lead.step(), Next::JoinToo);
        lead.members = vec![Member { validator: lead.node.validator.clone(), ..Member::default() }];
        assert_eq!(lead.step(), Next::KeepServing, "its own join is here");
        lead.members.clear();
        lead.readiness = Some(Readiness { seats: vec![seat(true)], ..Readiness::default() });
        assert_eq!(lead.step(), Next::KeepServing, "its root is there");
        lead.readiness = Some(Readiness { seats: vec![seat(false)], quorum: true, ..Readiness::default() });
        assert_eq!(lead.step(), Next::StartTogether { root: None });
    }

    #[test]
    fn a_dissent_goes_before_everything() {
        let mut node = status(Role::Join, By::Lines);
        node.readiness = Some(Readiness { quorum: true, ..Readiness::default() });
        assert_eq!(node.step(), Next::StartTogether { root: None });
        node.node.directory = Some("/a root".into());
        assert_eq!(node.step(), Next::StartTogether { root: Some("'/a root'".to_owned()) });
        node.estimate.limit.by = By::Alarm;
        assert_eq!(node.step(), Next::StopDifferingNode);
        node.attestations = Some(Attestations { verdict: "lost".to_owned(), ..Attestations::default() });
        assert_eq!(node.step(), Next::SettleDissent);
    }

    #[test]
    fn who_holds_another_state_is_told_so_while_the_others_go_on() {
        let voice = |vote: &str| Elector { key: "k".to_owned(), vote: vote.to_owned(), ..Elector::default() };
        let mut node = status(Role::Join, By::Lines);
        node.attestations = Some(Attestations { voices: vec![voice("dissents")], ..Attestations::default() });
        assert_eq!(node.step(), Next::LetItRun, "it is somebody else's");
        node.node.validator = Some("k".to_owned());
        assert_eq!(node.step(), Next::OwnDissent);
        // It has taken the others' state.
        let seat = Seat { key: "k".to_owned(), ready: true, ..Seat::default() };
        node.readiness = Some(Readiness { seats: vec![seat], ..Readiness::default() });
        assert_eq!(node.step(), Next::LetItRun);
    }

    #[test]
    fn who_sends_nothing_is_asked() {
        let mut fetch = status(Role::Fetch, By::Silence);
        assert_eq!(fetch.step(), Next::AskWhetherLeadServes);
        fetch.estimate.limit.who = vec!["a".to_owned()];
        assert_eq!(fetch.step(), Next::AskThem { who: vec!["a".to_owned()] });
    }

    #[test]
    fn a_node_that_has_ended_says_what_is_to_be_done_about_it() {
        let ended = |role| Status { running: false, ..status(role, By::NoMember) };
        assert_eq!(ended(Role::Fetch).step(), Next::FetchAgain);
        let mut join = ended(Role::Join);
        join.node.complete = true;
        assert_eq!(join.step(), Next::FetchAgain, "a root is not served from before it is whole");
        join.readiness = Some(Readiness { quorum: true, ..Readiness::default() });
        assert_eq!(join.step(), Next::StartTogether { root: None });
        let voice = Elector { key: "k".to_owned(), vote: "dissents".to_owned(), ..Elector::default() };
        join.attestations = Some(Attestations { voices: vec![voice], ..Attestations::default() });
        join.node.validator = Some("k".to_owned());
        assert_eq!(join.step(), Next::OwnDissent);
    }

    #[test]
    fn a_lead_is_not_needed_for_the_readiness_of_others_and_nobody_after_the_quorum() {
        let chunks = |out| Some(Chunks { count: 9, out, ..Chunks::default() });
        let mut lead = Status { chunks: chunks(true), ..status(Role::Seed, By::Readiness) };
        assert_eq!(lead.step(), Next::WaitOrLeave);
        lead.chunks = chunks(false);
        assert_eq!(lead.step(), Next::KeepServing);
        // A seed that was started again sees nobody yet.
        lead.readiness = Some(Readiness { quorum: true, ..Readiness::default() });
        assert_eq!(lead.step(), Next::StartTogether { root: None });
        let join =
            Status { node: Own { directory: Some("r".into()), ..Own::default() }, ..status(Role::Join, By::Readiness) };
        let join = Status { node: Own { role: Some(Role::Join), ..join.node.clone() }, ..join };
        assert_eq!(join.step(), Next::WaitForOthers { directory: "r".to_owned() });
    }

    #[test]
    fn a_directory_that_nobody_serves_says_what_serves_it() {
        let own = Own { complete: true, directory: Some("a b".into()), ..Own::default() };
        let mut at_rest = Status { node: own, ..Status::default() };
        assert_eq!(at_rest.step(), Next::ServeAgain { directory: "'a b'".to_owned() });
        at_rest.node.directory = Some("/a/.root.regenesis-part".into());
        assert_eq!(at_rest.step(), Next::FetchAgain, "the join goes on with it");
        at_rest.node.complete = false;
        assert_eq!(at_rest.step(), Next::FetchAgain);
        at_rest.on_media.coming_chunks = 1;
        at_rest.node.directory = Some("island".into());
        assert_eq!(at_rest.step(), Next::ImportWhatComes { directory: "island".to_owned() });
        at_rest.node.pid = Some(1);
        assert_eq!(at_rest.step(), Next::AskAgain);
    }
}
