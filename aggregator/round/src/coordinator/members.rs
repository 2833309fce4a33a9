//! The agencies of a job: who is there, who takes part, who sits out and why.
//!
//! Must not know: the protocol's phases.

use std::collections::BTreeMap;

use tributary_secagg::{Evidence, Fault, NodeIndex, NodeSet};

use super::{Coordinator, Stage};
use crate::event::{Effect, Now, Resume, Step};
use crate::record::{AgencyEntry, KIND_AGENCY};

/// A node that broke the protocol this often is out of the job.
const STRIKES: u8 = 3;

/// Reports that say that a node's state is not the certified one.
const STATE_CODES: [&str; 2] = ["state-missing", "state-mismatch"];

/// Refusals that may pass: somebody at the agency has yet to approve the job, or the hour is to come.
const NOT_YET: [&str; 2] = ["not-approved", "outside-hours"];

/// What the coordinator knows of one agency.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) connected: bool,
    pub(super) accepted: bool,
    pub(super) resume: Resume,
    /// Why it does not take part yet, in its own words.
    pub(super) not_yet: Option<String>,
    /// Why it is out of the job, if it is.
    pub(super) excluded: Option<String>,
    /// Attempts that it sits out because it held up, left or broke the last one.
    pub(super) benched: u8,
    /// How often it broke the protocol.
    pub(super) strikes: u8,
}

impl Coordinator {
    pub(super) fn connected(
        &mut self,
        now: Now,
        node: NodeIndex,
        resume: Resume,
        effects: &mut Vec<Effect>,
    ) {
        if let Stage::Ended { complete, reason } = &self.stage {
            let certificate = self.certificate.as_ref().map(|qc| qc.encode());
            let (complete, reason) = (*complete, reason.clone());
            effects.push(Effect::End { node, complete, reason, certificate });
            return;
        }
        if let Some(member) = self.member_mut(node) {
            member.connected = true;
            member.accepted = false;
            member.not_yet = None;
            member.resume = resume;
            effects.push(Effect::Offer(node));
        }
        if let Some(reason) = self.behind() {
            return self.end(now, false, reason, effects);
        }
        self.back_in_upload(now, node, resume, effects);
    }

    pub(super) fn disconnected(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let Some(member) = self.member_mut(node) else { return };
        member.connected = false;
        member.accepted = false;
        member.not_yet = None;
        match &self.stage {
            Stage::Keying { .. } => self.left_keying(now, node, effects),
            Stage::Running(_) => self.leave_attempt(now, node, effects),
            _ => {}
        }
    }

    /// A node leaves the running attempt. After the grant others may have charged for it: whoever
    /// leaves then is named and sits out the next one.
    pub(super) fn leave_attempt(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let Stage::Running(attempt) = &mut self.stage else { return };
        if !attempt.cohort.contains(node) || !attempt.gone.insert(node) {
            return;
        }
        if attempt.granted {
            attempt.left.insert(node);
        }
        let outputs = attempt.round.drop_node(node);
        self.round_outputs(now, outputs, effects);
    }

    pub(super) fn accepted(&mut self, now: Now, node: NodeIndex, effects: &mut Vec<Effect>) {
        let Some(member) = self.member_mut(node) else { return };
        if !member.connected || member.accepted {
            return;
        }
        member.accepted = true;
        member.not_yet = None;
        match &self.stage {
            Stage::Offering { .. } => {
                if self.everybody_accepted() {
                    self.start_epoch(now, effects);
                }
            }
            Stage::Waiting { not_before, .. }
                if now.millis < *not_before && !self.everybody_is_back() =>
            {
                self.enough_are_back(now);
            }
            Stage::Waiting { .. } => self.begin_attempt(now, effects),
            // In the middle of its upload: it takes part already.
            Stage::Running(a) if a.cohort.contains(node) && !a.gone.contains(node) => {}
            Stage::Running(_) => {
                let text = match self.fit(node) {
                    Ok(()) => "takes part from the next round on".to_owned(),
                    Err(why) => why,
                };
                effects.push(Effect::Idle(node, text));
            }
            Stage::Keying { .. } | Stage::Ended { .. } => {}
        }
    }

    /// Whether every agency that may take part does.
    pub(super) fn everybody_accepted(&self) -> bool {
        self.members.iter().all(|m| m.accepted || m.excluded.is_some())
    }

    /// Whether nobody is missing who could still take part: then there is nothing to wait for.
    fn everybody_is_back(&self) -> bool {
        let back = |m: &Member| m.excluded.is_some() || (m.connected && m.accepted);
        self.epoch_members().iter().all(|n| self.member(n).is_some_and(back))
    }

    /// With enough agencies to begin, the others get a moment and not the whole time of a step: one
    /// that died stays away however long everybody waits.
    fn enough_are_back(&mut self, now: Now) {
        if self.cohort().len() < usize::from(self.plan.roster.thresholds.u_min) {
            return;
        }
        let moment = now.millis + self.timeouts.step / 10;
        if let Stage::Waiting { not_before, .. } = &mut self.stage {
            *not_before = moment.min(*not_before);
        }
    }

    /// Who is connected and takes no part at the moment, and why.
    pub(super) fn sits_out(&self) -> BTreeMap<String, String> {
        let why = |(i, member): (usize, &Member)| {
            let node = NodeIndex(i as u16);
            let why = match self.fit(node) {
                _ if !member.connected => return None,
                Err(why) => why,
                Ok(()) if member.benched > 0 => {
                    "it held up, left or broke the last attempt; it takes part again after one \
                     more"
                        .to_owned()
                }
                Ok(()) => return None,
            };
            Some((self.name(node), why))
        };
        // Before there are keys nobody can hold them.
        let keyed = self.facts.is_some();
        self.members.iter().enumerate().filter(|_| keyed).filter_map(why).collect()
    }

    /// An answer of a node that is not there, or out of the job, says nothing.
    pub(super) fn refused(
        &mut self,
        now: Now,
        node: NodeIndex,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        if !self.member(node).is_some_and(|m| m.connected && m.excluded.is_none()) {
            return;
        }
        let name = self.name(node);
        // Still in another job: it is asked again when it is done there and connects anew.
        if reason.starts_with("busy") {
            effects.push(Effect::Note(format!("{name} is busy: {reason}")));
            return self.disconnected(now, node, effects);
        }
        if NOT_YET.iter().any(|code| reason.starts_with(code)) {
            return self.not_yet(now, node, reason, effects);
        }
        if self.facts.is_none() {
            let text = format!("{name} refuses the job: {reason}");
            return self.end(now, false, text, effects);
        }
        self.exclude(node, format!("it refused the job: {reason}"));
        self.blame(now, node, "refused", (&reason, None), effects);
        self.disconnected(now, node, effects);
    }

    /// A node takes no part until it says that it does: its session stays, and so do its keys.
    fn not_yet(&mut self, now: Now, node: NodeIndex, reason: String, effects: &mut Vec<Effect>) {
        let name = self.name(node);
        let Some(member) = self.member_mut(node) else { return };
        member.accepted = false;
        // Saying it again is no news, and fills no record.
        if member.not_yet.as_ref() == Some(&reason) {
            return;
        }
        effects.push(Effect::Note(format!("{name} does not take part yet: {reason}")));
        member.not_yet = Some(reason);
        match &self.stage {
            Stage::Keying { .. } => self.left_keying(now, node, effects),
            Stage::Running(_) => self.leave_attempt(now, node, effects),
            _ => {}
        }
        if !self.is_ended() {
            effects.push(self.persist(Step::default()));
        }
    }

    /// Who does not take part yet and why, in words; empty if nobody.
    pub(super) fn waits_for_people(&self) -> String {
        let said = self.members.iter().enumerate().filter_map(|(i, member)| {
            let why = member.not_yet.as_ref()?;
            Some(format!("{} ({why})", self.name(NodeIndex(i as u16))))
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// The same after a text.
    pub(super) fn with_waits(&self, text: &str) -> String {
        match self.waits_for_people() {
            waits if waits.is_empty() => text.to_owned(),
            waits => format!("{text}; not yet: {waits}"),
        }
    }

    /// A node gives the running attempt up. Anything about another attempt is late; a second report
    /// says nothing new and costs nothing. That its state is wrong stays true whatever attempt it
    /// speaks of: it gets the certified one before it is asked again.
    pub(super) fn reported(
        &mut self,
        now: Now,
        node: NodeIndex,
        number: (u32, u16),
        text: &str,
        effects: &mut Vec<Effect>,
    ) {
        let code = text.split(':').next().unwrap_or_default();
        if STATE_CODES.contains(&code) {
            self.forget_state(node);
        }
        let running = (self.state.completed, self.next_attempt.saturating_sub(1));
        let Stage::Running(attempt) = &self.stage else { return };
        let first = attempt.cohort.contains(node) && !attempt.gone.contains(node);
        if number != running || !first {
            return;
        }
        self.forget_state(node);
        self.blame(now, node, "report", (text, None), effects);
        self.leave_attempt(now, node, effects);
    }

    /// Whatever state a node is in, it gets the certified one before it is asked again.
    pub(super) fn forget_state(&mut self, node: NodeIndex) {
        if let Some(member) = self.member_mut(node) {
            member.resume.completed = None;
        }
    }

    /// A node broke the protocol in a way that ends its session too.
    pub(super) fn fault(
        &mut self,
        now: Now,
        node: NodeIndex,
        fault: &Fault,
        effects: &mut Vec<Effect>,
    ) {
        let text = fault.to_string();
        if matches!(fault, Fault::PeerMisbehaved { .. }) {
            let keying = matches!(self.stage, Stage::Keying { .. });
            self.strike(node, &text, keying);
        }
        self.blame(now, node, "fault", (&text, None), effects);
        effects.push(Effect::Disconnect(node, text));
        self.disconnected(now, node, effects);
    }

    /// A node that the protocol caught in an attempt hears nothing more of it.
    pub(super) fn evicted(
        &mut self,
        now: Now,
        node: NodeIndex,
        why: &str,
        evidence: Option<&Evidence>,
        effects: &mut Vec<Effect>,
    ) {
        self.strike(node, why, evidence.is_some());
        match &mut self.stage {
            Stage::Running(attempt) => {
                attempt.gone.insert(node);
            }
            // Evicted as the round was certified: it arrived at another state than the quorum.
            _ => self.forget_state(node),
        }
        self.blame(now, node, "evicted", (why, evidence), effects);
    }

    /// A node that broke the protocol sits out the next attempt, and the job after three times: two
    /// that contradict each other look alike from here, so one time proves little. `at_once` is for
    /// what is proven, and for what would cost everybody another agreement on keys.
    pub(super) fn strike(&mut self, node: NodeIndex, why: &str, at_once: bool) {
        let Some(member) = self.member_mut(node) else { return };
        member.benched = 1;
        member.strikes = member.strikes.saturating_add(1);
        if at_once || member.strikes >= STRIKES {
            self.exclude(node, why.to_owned());
        }
    }

    fn exclude(&mut self, node: NodeIndex, why: String) {
        if let Some(member) = self.member_mut(node) {
            member.excluded.get_or_insert(why);
        }
    }

    /// Nodes that are out of the job.
    pub(super) fn excluded(&self) -> NodeSet {
        let out = self.members.iter().enumerate().filter(|(_, m)| m.excluded.is_some());
        NodeSet::of(self.plan.roster.size(), out.map(|(i, _)| NodeIndex(i as u16)))
    }

    /// These sit out the next attempt, if it works without them.
    pub(super) fn bench(&mut self, nodes: &NodeSet) {
        for node in nodes.iter() {
            if let Some(member) = self.member_mut(node) {
                member.benched = 1;
            }
        }
    }

    /// Everybody who can take part and has enough peers that do; those on the bench only if it does
    /// not work without them.
    pub(super) fn cohort(&self) -> NodeSet {
        let roster = &self.plan.roster;
        let choose = |benched_too: bool| {
            let fit = self.members.iter().enumerate().filter_map(|(i, m)| {
                let node = NodeIndex(i as u16);
                let there = m.connected && m.accepted && (benched_too || m.benched == 0);
                (there && self.fit(node).is_ok()).then_some(node)
            });
            let set = NodeSet::of(roster.size(), fit);
            // In the sparse graph also who is connected may have too few peers that are.
            self.facts.as_ref().map_or(set.clone(), |facts| facts.openable(roster, &set))
        };
        let cohort = choose(false);
        if cohort.len() >= usize::from(roster.thresholds.u_min) { cohort } else { choose(true) }
    }

    /// Whether an agency can be in a cohort, else why not.
    fn fit(&self, node: NodeIndex) -> Result<(), String> {
        let Some(member) = self.member(node) else {
            return Err("not in the roster".into());
        };
        if let Some(why) = self.ahead(member) {
            return Err(why);
        }
        match (&member.excluded, member.resume.epoch) {
            (Some(why), _) => Err(format!("sits out for the rest of the job: {why}")),
            (None, Some(epoch)) if epoch == self.epoch && self.epoch_members().contains(node) => {
                Ok(())
            }
            (None, _) => Err(format!(
                "it does not hold the keys of epoch {}; it can join again with the next job",
                self.epoch
            )),
        }
    }

    /// Who holds keys of the newest complete epoch.
    pub(super) fn epoch_members(&self) -> NodeSet {
        let nobody = || NodeSet::new(self.plan.roster.size());
        self.facts.as_ref().map_or_else(nobody, |facts| facts.members.clone())
    }

    /// Writes something about an agency into record and log.
    pub(super) fn blame(
        &mut self,
        now: Now,
        node: NodeIndex,
        what: &str,
        (text, evidence): (&str, Option<&Evidence>),
        effects: &mut Vec<Effect>,
    ) {
        let entry = AgencyEntry {
            round: self.state.completed,
            agency: self.name(node),
            what: what.to_owned(),
            text: text.to_owned(),
            evidence: evidence.map(|evidence| hex::encode(evidence.encode())),
        };
        effects.push(Effect::Note(format!("{}: {what}: {text}", entry.agency)));
        let mut step = Step::default();
        let body = serde_json::to_value(&entry).unwrap_or_default();
        self.record(&mut step, now, KIND_AGENCY, body);
        effects.push(self.persist(step));
    }

    pub(super) fn member(&self, node: NodeIndex) -> Option<&Member> {
        self.members.get(usize::from(node.0))
    }

    pub(super) fn member_mut(&mut self, node: NodeIndex) -> Option<&mut Member> {
        self.members.get_mut(usize::from(node.0))
    }

    pub(super) fn name(&self, node: NodeIndex) -> String {
        match self.manifest.roster.get(usize::from(node.0)) {
            Some(entry) => entry.agency.clone(),
            None => format!("node {}", node.0),
        }
    }

    pub(super) fn names(&self, set: &NodeSet) -> Vec<String> {
        set.iter().map(|n| self.name(n)).collect()
    }

    pub(super) fn members_where(&self, keep: impl Fn(&Member) -> bool) -> Vec<String> {
        let pick = |(i, m)| keep(m).then(|| self.name(NodeIndex(i as u16)));
        self.members.iter().enumerate().filter_map(pick).collect()
    }
}
