//! There is one way from records to the wire, and it goes through a charge.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use tributary_secagg::messages::UploadTurn;
use tributary_secagg::{NodeSet, ServerMessage};
use tributary_wire::session::{FromNode, Secagg, ToNode};

use super::disk::Shared;
use crate::book::ReleaseKind;
use crate::engine::{Output, Record};
use crate::fixtures::wire::{charges, masked};
use crate::fixtures::{Federation, JOB, book_of, job_without_noise, now};
use crate::gate::Gate;
use crate::session::carry_out;

/// This crate's sources without tests and fixtures.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "tests" && name != "fixtures" {
                folders.push(path);
            } else if path.is_file() && name != "tests.rs" && name != "fixtures.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
    }
    found
}

/// In which files a text stands, and how often.
fn places(text: &str) -> Vec<(String, usize)> {
    let count = |(path, code): (PathBuf, String)| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Some((name, code.matches(text).count())).filter(|(_, count)| *count > 0)
    };
    let mut found: Vec<_> = sources().into_iter().filter_map(count).collect();
    found.sort();
    found
}

fn once(file: &str) -> Vec<(String, usize)> {
    vec![(file.to_owned(), 1)]
}

#[test]
fn records_reach_the_wire_in_one_place_and_only_after_a_charge() {
    // The one place that turns records into a vector, and the one that lets it go.
    // The audit's entry hands out vectors of made-up records, and nothing of the node calls it.
    let makers = [("audit.rs".to_owned(), 1), ("round.rs".to_owned(), 1)];
    assert_eq!(places("vector::make("), makers);
    assert_eq!(places("audit::vector"), []);
    assert_eq!(places(".provide_vector("), once("round.rs"));
    assert_eq!(places(".release_upload("), once("round.rs"));
    assert_eq!(places("NodeOutput::Upload("), once("round.rs"));
    let round =
        sources().into_iter().find(|(path, _)| path.ends_with("engine/round.rs")).unwrap().1;
    let charge = round.find("book.charge(").unwrap();
    let persist = charge + round[charge..].find("Persist(Record::Book(entry))").unwrap();
    let release = round.find(".release_upload(").unwrap();
    assert!(charge < persist && persist < release, "charge, persist, release: in this order");
    // Only the driver carries uploads out, behind the gate.
    let carried: Vec<_> = places("Output::Upload { job, upload } =>");
    assert_eq!(carried, once("session.rs"));
    assert_eq!(places("gate.check(&upload)"), once("session.rs"));
}

#[test]
fn every_upload_comes_after_a_durable_charge_of_its_attempt() {
    for job in [JOB.to_owned(), job_without_noise()] {
        let mut federation = Federation::new(&job).accepted();
        let facts = federation.agree(1);
        // Watch the effects themselves, in the order in which they come.
        let seen = std::sync::Arc::new(std::sync::Mutex::new((Gate::default(), 0)));
        let watched = seen.clone();
        federation.driver = Some(Box::new(move |engine, frame| {
            let (gate, uploads) = &mut *watched.lock().unwrap();
            let mut sent = Vec::new();
            for output in engine.handle(&now(), frame) {
                match output {
                    Output::Persist(record) => gate.durable(&record),
                    Output::Upload { job, upload } => {
                        gate.check(&upload).unwrap();
                        assert!(Gate::default().check(&upload).is_err(), "a gate without memory");
                        *uploads += 1;
                        sent.extend(upload.map(|message| {
                            FromNode::Secagg(Secagg { job, frame: message.encode().into() })
                        }));
                    }
                    Output::Send(frame) => sent.push(frame),
                    Output::Audit(_) | Output::Note(_) => {}
                }
            }
            sent
        }));
        federation.attempt(0, &facts, NodeSet::full(5));
        assert_eq!(seen.lock().unwrap().1, 1);
    }
}

#[test]
fn the_same_bytes_again_are_free_and_noted_once() {
    let mut federation = Federation::new(JOB).accepted();
    let facts = federation.agree(1);
    let seen = std::sync::Arc::new(std::sync::Mutex::new((Vec::new(), Vec::new())));
    let watched = seen.clone();
    federation.driver = Some(Box::new(move |engine, frame| {
        let (records, uploads) = &mut *watched.lock().unwrap();
        let mut sent = Vec::new();
        let mut outputs: VecDeque<_> = engine.handle(&now(), frame).into();
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Persist(record) => records.push(record),
                Output::Upload { job, upload } => {
                    let messages: Vec<_> = upload.clone().map(|m| m.encode()).collect();
                    uploads.push(messages.clone());
                    outputs.extend(engine.uploaded(&now(), job));
                    if uploads.len() < 3 {
                        // The aggregator lost what it had and asks once more from the beginning.
                        let turn = UploadTurn { context: upload.context(), first_chunk: 0 };
                        let frame = ServerMessage::from(turn).encode().into();
                        outputs
                            .extend(engine.handle(&now(), ToNode::Secagg(Secagg { job, frame })));
                    }
                    sent.extend(
                        messages
                            .into_iter()
                            .map(|message| FromNode::Secagg(Secagg { job, frame: message.into() })),
                    );
                }
                Output::Send(frame) => sent.push(frame),
                Output::Audit(_) | Output::Note(_) => {}
            }
        }
        // The aggregator of this test takes a vector once.
        let mut known = BTreeSet::new();
        sent.retain(|frame| known.insert(format!("{frame:?}")));
        sent
    }));
    federation.attempt(0, &facts, NodeSet::full(5));
    let (records, uploads) = &*seen.lock().unwrap();
    assert_eq!(uploads.len(), 3);
    assert!(uploads[0] == uploads[1] && uploads[0] == uploads[2], "other bytes in one context");
    let book = book_of(records);
    let kinds: Vec<_> = book.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["budget-charged", "budget-sent"]);
    let charge = &charges(&book)[0];
    assert_eq!(charge.kind, ReleaseKind::Statistics);
    let view = federation.view(0);
    assert_eq!(charge.params, view.params_hash.to_string());
}

#[test]
fn an_upload_whose_charge_got_lost_on_its_way_is_stopped_at_the_gate() {
    let mut federation = Federation::new(JOB).accepted();
    let facts = federation.agree(1);
    let (disk, stopped) = (Shared::default(), std::sync::Arc::new(std::sync::Mutex::new(0)));
    let (seen, limits) = (stopped.clone(), federation.limits);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    federation.driver = Some(Box::new(move |engine, frame| {
        let mut outputs = engine.handle(&now(), frame);
        let charge = |o: &Output| matches!(o, Output::Persist(Record::Book(entry)) if entry.kind == "budget-charged");
        outputs.retain(|output| !charge(output));
        let (to_server, mut outgoing) = tokio::sync::mpsc::channel(4096);
        let (_told, mut stop) = tokio::sync::watch::channel(crate::stop::Stop::No);
        let mut gate = Gate::default();
        let carry = (&mut gate, &to_server, &mut stop);
        let time = now();
        let carried = carry_out(engine, (outputs, &time), &disk, carry);
        if let Err(error) = runtime.block_on(carried) {
            assert!(error.to_string().contains("not in the budget book"), "{error}");
            *seen.lock().unwrap() += 1;
        }
        let mut sent = Vec::new();
        while let Ok(frame) = outgoing.try_recv() {
            let frame = FromNode::try_from(frame).unwrap();
            assert!(masked(&frame, &limits).is_none(), "a vector passed the gate");
            sent.push(frame);
        }
        sent
    }));
    federation.attempt(0, &facts, NodeSet::full(5));
    assert_eq!(*stopped.lock().unwrap(), 1);
}
