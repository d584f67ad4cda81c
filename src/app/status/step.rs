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
        if !self.running {
            return self.step_of_directory();
        }
        let quorum = self.readiness.as_ref().is_some_and(|ready| ready.quorum);
        let out = self.chunks.as_ref().is_some_and(|chunks| chunks.out);
        match (by, self.node.role) {
            (By::NoMember, Some(Role::Publish | Role::Seed)) => Next::GiveTicket,
            (By::NoMember, _) => Next::CheckReach,
            (By::NobodyHasIt | By::Silence, _) => Next::AskWhetherLeadServes,
            (_, Some(Role::Publish | Role::Seed)) if !out => Next::KeepServing,
            (By::Signature, _) => Next::CosignInSwarm,
            (By::Attestation, _) => Next::WaitForAttestations,
            (By::Still | By::Line, Some(Role::Publish | Role::Seed)) => {
                Next::AskThem { who: self.estimate.limit.who.clone() }
            }
            (_, _) if quorum => Next::StartTogether,
            (By::Readiness, _) => Next::WaitForOthers,
            (_, Some(Role::Publish | Role::Seed)) => Next::MayLeave,
            (_, _) => Next::LetItRun,
        }
    }

    fn step_of_directory(&self) -> Next {
        let directory = self.node.directory.as_deref().map_or_else(|| "DIR".to_owned(), setup::shell_path);
        match (self.node.pid, self.node.complete) {
            (Some(_), _) => Next::AskAgain,
            (None, true) => Next::ServeAgain { directory },
            (None, false) => Next::FetchAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::{Attestations, Chunks, Limit, Own, Readiness};

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
    fn a_dissent_goes_before_everything() {
        let mut node = status(Role::Join, By::Lines);
        node.readiness = Some(Readiness { quorum: true, ..Readiness::default() });
        assert_eq!(node.step(), Next::StartTogether);
        node.estimate.limit.by = By::Alarm;
        assert_eq!(node.step(), Next::StopDifferingNode);
        node.attestations = Some(Attestations { verdict: "lost".to_owned(), ..Attestations::default() });
        assert_eq!(node.step(), Next::SettleDissent);
    }

    #[test]
    fn a_directory_that_nobody_serves_says_what_serves_it() {
        let own = Own { complete: true, directory: Some("a b".into()), ..Own::default() };
        let mut at_rest = Status { node: own, ..Status::default() };
        assert_eq!(at_rest.step(), Next::ServeAgain { directory: "'a b'".to_owned() });
        at_rest.node.complete = false;
        assert_eq!(at_rest.step(), Next::FetchAgain);
        at_rest.node.pid = Some(1);
        assert_eq!(at_rest.step(), Next::AskAgain);
    }
}
