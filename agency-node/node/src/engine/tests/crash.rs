//! The machine dies at every step of writing, loses what was not synced, and what had left it is
//! never more than what its disk says was charged.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tributary_secagg::{EpochFacts, NodeSet};
use tributary_wire::Text;
use tributary_wire::session::{JobEnd, JobOutcome, ToNode};

use super::disk::{Disk, Machine, daemon, hasty};
use crate::book::Book;
use crate::fixtures::wire::{charges, noted_as_sent};

impl Machine {
    fn offer(&mut self) {
        for i in 0..5 {
            let offer = self.federation.offer();
            self.federation.give(i, offer);
        }
    }

    fn attempt(&mut self, attempt: u16, facts: Option<&EpochFacts>) {
        if let Some(facts) = facts {
            self.federation.attempt(attempt, facts, NodeSet::full(5));
        }
    }

    fn end(&mut self) {
        let end = ToNode::JobEnd(JobEnd {
            job: self.federation.plan.job.0,
            outcome: JobOutcome::Stopped,
            text: Text::clipped("enough"),
            certificate: None,
        });
        self.federation.give(0, end);
    }

    /// Three attempts of the statistics round, with new keys for the last; the process is started
    /// again as soon as it is down.
    fn story(&mut self) -> bool {
        let mut died = false;
        self.offer();
        if self.revive() {
            died = true;
            self.offer();
        }
        let facts = self.federation.try_agree(1);
        died |= self.revive();
        for attempt in 0..2 {
            self.attempt(attempt, facts.as_ref());
            died |= self.revive();
        }
        let facts = self.federation.try_agree(2);
        died |= self.revive();
        self.attempt(2, facts.as_ref());
        died |= self.revive();
        self.end();
        died | self.revive()
    }
}

/// What left is paid for, what is noted as sent has left, and the book can be started with.
fn check(disk: &Disk) {
    assert_eq!(disk.unpaid, Vec::<String>::new());
    let book = disk.book();
    disk.check(&book).unwrap();
    let status = Book::replay(&book).unwrap().status("d").unwrap();
    assert!(status.committed <= status.limit);
    let charges = charges(&book);
    let charged: BTreeSet<_> = charges.iter().map(|charge| &charge.ctx).collect();
    let left: BTreeSet<_> = disk.left.iter().map(|(context, _)| context).collect();
    assert!(left.is_subset(&charged), "{left:?} {charged:?}");
    assert!(left.len() <= charges.len());
    let whole: BTreeSet<_> = disk.left.iter().filter_map(|(_, root)| root.as_ref()).collect();
    for number in noted_as_sent(&book) {
        let charge = charges.iter().find(|c| (c.round, c.attempt) == number).unwrap();
        assert!(whole.contains(&charge.payload), "{number:?} is noted as sent and has not left");
    }
}

#[test]
fn a_machine_that_dies_at_any_step_has_paid_for_what_left_it() {
    let mut quiet = Machine::with(None, daemon);
    assert!(!quiet.story());
    let (steps, left) = {
        let disk = quiet.disk.0.lock().unwrap();
        check(&disk);
        assert_eq!(charges(&disk.book()).len(), 3);
        assert_eq!(noted_as_sent(&disk.book()), [(0, 0), (0, 1), (0, 2)]);
        (disk.steps, disk.left.len())
    };
    assert!(steps > 40 && left >= 6, "{steps} steps, {left} messages");
    let mut lost = 0;
    for step in 0..steps {
        let mut machine = Machine::new(Some(step));
        assert!(machine.story(), "step {step} is never reached");
        let disk = machine.disk.0.lock().unwrap();
        check(&disk);
        let book = disk.book();
        lost += charges(&book).len() - noted_as_sent(&book).len();
    }
    assert!(lost > 0, "no crash came between a charge and its end");
}

#[test]
fn a_daemon_that_sends_before_it_writes_would_be_noticed() {
    let mut machine = Machine::with(None, hasty);
    machine.story();
    assert!(!machine.disk.0.lock().unwrap().unpaid.is_empty());
}

#[test]
fn an_upload_that_is_cut_is_paid_for_and_not_noted_as_sent() {
    let mut machine = Machine::new(None);
    machine.offer();
    let facts = machine.federation.agree(1);
    machine.disk.0.lock().unwrap().cut = true;
    machine.attempt(0, Some(&facts));
    {
        let disk = machine.disk.0.lock().unwrap();
        assert_eq!((charges(&disk.book()).len(), noted_as_sent(&disk.book()).len()), (1, 0));
        assert!(disk.left.is_empty());
    }
    // The next attempt is a new vector and a new charge; the lost one is not given back.
    machine.federation.engines[0].hello("again");
    machine.attempt(1, Some(&facts));
    let disk = machine.disk.0.lock().unwrap();
    assert_eq!(charges(&disk.book()).len(), 2);
    assert_eq!(noted_as_sent(&disk.book()), [(0, 1)]);
    check(&disk);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Offers, keys, attempts, cuts, crashes at random steps, older databases put back, job ends, in
    /// any order.
    #[test]
    fn what_left_the_machine_is_never_more_than_what_was_charged(
        events in proptest::collection::vec((0u8..12, 0usize..40), 4..14),
    ) {
        let mut machine = Machine::new(None);
        machine.offer();
        let (mut epoch, mut attempt) = (1, 0);
        let mut facts = machine.federation.try_agree(epoch);
        let mut most: f64 = 0.0;
        for (what, number) in events {
            match what {
                0 => machine.offer(),
                1 => {
                    epoch += 1;
                    facts = machine.federation.try_agree(epoch);
                }
                2..=5 => {
                    machine.attempt(attempt, facts.as_ref());
                    attempt += 1;
                }
                // The same number once more.
                6 => machine.attempt(attempt.saturating_sub(1), facts.as_ref()),
                7 => drop(machine.federation.engines[0].hello("cut")),
                8 => machine.disk.0.lock().unwrap().cut = true,
                9 => {
                    let mut disk = machine.disk.0.lock().unwrap();
                    disk.dies_at = Some(disk.steps + number);
                }
                10 => {
                    // A backup is put back: it is the newest, or nothing starts with it.
                    let disk = machine.disk.0.lock().unwrap();
                    let book = disk.book();
                    let older = &book[..number.min(book.len())];
                    let newest = disk.head.clone().unwrap().length as usize;
                    prop_assert_eq!(disk.check(older).is_ok(), older.len() >= newest);
                }
                _ => machine.end(),
            }
            machine.revive();
            let disk = machine.disk.0.lock().unwrap();
            check(&disk);
            // Nothing that was charged is ever given back, over any number of crashes.
            let spent = Book::replay(&disk.book()).unwrap().status("d").unwrap().spent;
            prop_assert!(spent >= most);
            most = spent;
        }
    }
}
