//! Epoch keys: what is agreed on stays until something newer is.

use tributary_secagg::messages::EpochHellos;
use tributary_secagg::{EpochStart, Identity, MAX_EPOCHS, NodeMessage, NodeSet, ServerMessage};
use tributary_wire::session::ReportCode;

use crate::fixtures::{Federation, JOB};

fn held(federation: &Federation) -> Option<u32> {
    federation.engines[0].job().unwrap().epoch_number()
}

#[test]
fn no_bad_message_takes_the_keys_away() {
    let mut federation = Federation::new(JOB).accepted();
    let facts = federation.agree(1);
    let forger = Identity::generate().unwrap();
    let forged = EpochStart::new(&federation.plan.roster, &forger, 2, 0, NodeSet::new(5));
    assert!(federation.tell(0, &forged.into()).is_empty());
    assert_eq!(federation.reports, [(0, ReportCode::ProtocolFault)]);
    assert_eq!(held(&federation), Some(1));
    // A true start, then broken hellos: that agreement is over, the keys in use are not.
    let start = federation.epoch_start(2);
    let answers = federation.tell(0, &start);
    let [NodeMessage::EpochHello(own)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(held(&federation), Some(1));
    let broken =
        EpochHellos { context: own.context, hellos: vec![own.entry.clone(), own.entry.clone()] };
    assert!(federation.tell(0, &ServerMessage::EpochHellos(broken)).is_empty());
    assert_eq!(federation.reports.len(), 2);
    assert_eq!(held(&federation), Some(1));
    let everybody = NodeSet::full(5);
    let server = federation.attempt(0, &facts, everybody.clone());
    assert_eq!(server.survivors(), Some(&everybody));
    federation.agree(3);
    assert_eq!(held(&federation), Some(3));
}

#[test]
fn a_forged_start_and_late_messages_do_not_end_a_pending_agreement() {
    let mut federation = Federation::new(JOB).accepted();
    let start = federation.epoch_start(2);
    federation.tell(0, &start);
    let forger = Identity::generate().unwrap();
    let forged = EpochStart::new(&federation.plan.roster, &forger, 3, 0, NodeSet::new(5));
    federation.tell(0, &forged.into());
    let late = EpochHellos { context: tributary_secagg::Digest::ZERO, hellos: Vec::new() };
    federation.tell(0, &ServerMessage::EpochHellos(late));
    let older = federation.epoch_start(1);
    assert!(federation.tell(0, &older).is_empty(), "epochs only go up");
    // One number never gets two coins: the same start again is not answered, the next one is.
    assert!(federation.tell(0, &start).is_empty());
    federation.agree(3);
    assert_eq!(held(&federation), Some(3));
}

#[test]
fn a_job_has_few_epochs() {
    let mut federation = Federation::new(JOB).accepted();
    let beyond = federation.epoch_start(MAX_EPOCHS + 1);
    assert!(federation.tell(0, &beyond).is_empty());
    assert!(federation.notes.last().unwrap().contains("epochs 1 to 16"));
    let last = federation.epoch_start(MAX_EPOCHS);
    assert_eq!(federation.tell(0, &last).len(), 1);
}

#[test]
fn one_epoch_number_gets_one_coin_also_after_a_restart_of_the_node() {
    let mut federation = Federation::new(JOB).accepted();
    let start = federation.epoch_start(4);
    assert_eq!(federation.tell(0, &start).len(), 1);
    federation.restart(0);
    assert!(federation.tell(0, &start).is_empty());
    let older = federation.epoch_start(3);
    assert!(federation.tell(0, &older).is_empty());
    let newer = federation.epoch_start(5);
    assert_eq!(federation.tell(0, &newer).len(), 1);
}
