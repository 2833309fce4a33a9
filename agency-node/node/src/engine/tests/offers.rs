//! Offers: the answer depends on public things alone, and a job that ended stays ended.

use tributary_wire::Text;
use tributary_wire::session::{JobAnswer, JobEnd, JobOutcome, RefusalCode, ToNode};

use crate::book::{Book, BudgetLimit, JobCost, ProtectedUnit};
use crate::engine::{Engine, Record, StoredJob};
use crate::fixtures::{Federation, JOB, TABLE, job_without_noise, now};

fn end_of(federation: &Federation) -> ToNode {
    ToNode::JobEnd(JobEnd {
        job: federation.plan.job.0,
        outcome: JobOutcome::Stopped,
        text: Text::clipped("enough"),
        certificate: None,
    })
}

fn code(answer: JobAnswer) -> RefusalCode {
    match answer {
        JobAnswer::Refused { code, .. } => code,
        JobAnswer::Accepted => panic!("accepted"),
    }
}

#[test]
fn no_cell_changes_the_answer_to_an_offer() {
    let tables = [
        TABLE,
        "x,y\nNaN,0\n1e999,1\n,\n",
        "x,y\n1,maybe\n2\n3,0,0\n",
        "x,y\n",
        "x,y,z\n1,0,\"open\n2,1,\u{fe}\n",
    ];
    let tables = tables.map(str::to_owned).to_vec();
    // Every agency accepts, and the round is the same number of messages for all.
    let mut federation = Federation::with_tables(JOB, tables).accepted();
    let facts = federation.agree(1);
    let everybody = tributary_secagg::NodeSet::full(5);
    let server = federation.attempt(0, &facts, everybody.clone());
    assert_eq!(server.survivors(), Some(&everybody));
    assert!(federation.reports.is_empty(), "{:?}", federation.notes);
}

#[test]
fn a_missing_column_is_a_mismatch_and_names_nothing() {
    let mut tables = vec![TABLE.to_owned(); 5];
    tables[0] = "age,y\n1,0\n".into();
    let mut federation = Federation::with_tables(JOB, tables);
    let JobAnswer::Refused { code, text } = federation.answer(0) else { panic!("accepted") };
    assert_eq!(code, RefusalCode::SchemaMismatch);
    assert!(!text.to_string().contains("age"), "{text}");
}

#[test]
fn a_tensor_librarys_words_stay_here() {
    let mut federation = Federation::new(JOB);
    let mut setup = federation.setup(0);
    setup.trainers = Box::new(|_, _, _| Err("libtorch at /secret/place".into()));
    federation.engines[0] = Engine::new(setup, Book::replay(&federation.book(0)).unwrap());
    let JobAnswer::Refused { code, text } = federation.answer(0) else { panic!("accepted") };
    assert_eq!(code, RefusalCode::Unsupported);
    assert!(!text.to_string().contains("secret"), "{text}");
}

#[test]
fn the_policy_bounds_the_model_before_the_file_is_opened() {
    let mut federation = Federation::new(JOB);
    let mut setup = federation.setup(0);
    setup.policy.max_parameters = 1;
    for source in setup.datasets.values_mut() {
        source.load = Box::new(|_| panic!("opened"));
    }
    federation.engines[0] = Engine::new(setup, Book::replay(&federation.book(0)).unwrap());
    assert_eq!(code(federation.answer(0)), RefusalCode::PolicyOperation);
}

#[test]
fn acceptance_is_one_record_and_a_repeated_offer_is_none() {
    let mut federation = Federation::new(JOB);
    assert_eq!(federation.answer(0), JobAnswer::Accepted);
    let before = federation.engines[0].book().status("d").unwrap();
    assert!(before.committed > 0.0);
    assert_eq!(federation.answer(0), JobAnswer::Accepted);
    let [_, accepted] = federation.persisted[0].as_slice() else { panic!("one record") };
    assert!(matches!(accepted, Record::Accepted { entry: Some(_), .. }));
    assert_eq!(federation.engines[0].book().status("d").unwrap(), before);
}

#[test]
fn a_reservation_that_is_open_already_is_not_made_twice() {
    let mut federation = Federation::new(JOB);
    let setup = federation.setup(0);
    let mut book = Book::replay(&federation.book(0)).unwrap();
    let privacy = federation.plan.privacy.as_ref().unwrap();
    let cost = JobCost::of(privacy, ProtectedUnit::Record, 0).unwrap();
    let job = federation.plan.job.to_string();
    book.reserve("d", &job, &cost, &now().0, &setup.identity).unwrap().unwrap();
    let before = book.status("d").unwrap();
    federation.engines[0] = Engine::new(setup, book);
    assert_eq!(federation.answer(0), JobAnswer::Accepted);
    assert_eq!(federation.engines[0].book().status("d").unwrap(), before);
    assert!(matches!(federation.persisted[0][1], Record::Accepted { entry: None, .. }));
}

#[test]
fn a_job_that_protects_less_than_the_dataset_needs_is_refused_with_the_reason() {
    let mut federation = Federation::new(JOB);
    let setup = federation.setup(0);
    let mut book = Book::replay(&[]).unwrap();
    let limit = BudgetLimit::new(20.0, 1e-6).unwrap().for_unit(ProtectedUnit::Person);
    book.register("d", limit, &now().0, &setup.identity).unwrap();
    federation.engines[0] = Engine::new(setup, book);
    let JobAnswer::Refused { code, text } = federation.answer(0) else { panic!("accepted") };
    assert_eq!(code, RefusalCode::PolicyMode);
    assert_eq!(text.to_string(), "protects a record, the dataset needs a person");
    let note = &federation.notes[0];
    assert!(note.contains("its budget is kept per person"), "{note}");
}

#[test]
fn a_spent_budget_says_in_the_log_what_would_fit_and_nothing_outside() {
    let mut federation = Federation::new(JOB);
    let setup = federation.setup(0);
    let mut book = Book::replay(&[]).unwrap();
    let limit = BudgetLimit::new(2.0, 1e-6).unwrap();
    book.register("d", limit, &now().0, &setup.identity).unwrap();
    federation.engines[0] = Engine::new(setup, book);
    let JobAnswer::Refused { code, text } = federation.answer(0) else { panic!("accepted") };
    assert_eq!(code, RefusalCode::BudgetSpent);
    assert!(!text.to_string().contains(char::is_numeric), "{text}");
    let note = &federation.notes[0];
    for words in ["the limit is 2.000", "2.000 is left", "fit"] {
        assert!(note.contains(words), "{note}");
    }
    assert_eq!(federation.engines[0].book().status("d").unwrap().committed, 0.0);
}

#[test]
fn a_job_that_ended_is_refused_also_after_a_restart() {
    for job in [JOB.to_owned(), job_without_noise()] {
        let mut federation = Federation::new(&job);
        assert_eq!(federation.answer(0), JobAnswer::Accepted);
        let end = end_of(&federation);
        federation.give(0, end);
        let last = federation.persisted[0].last();
        assert!(matches!(last, Some(Record::Ended { entry: Some(_), .. })), "{last:?}");
        for _ in 0..2 {
            let JobAnswer::Refused { code, text } = federation.answer(0) else {
                panic!("accepted again")
            };
            assert_eq!(code, RefusalCode::Unsupported);
            assert_eq!(text.to_string(), "this job has ended here before");
            federation.restart(0);
        }
    }
}

#[test]
fn a_job_that_cannot_be_resumed_is_refused_and_the_node_runs() {
    let mut federation = Federation::new(JOB);
    let stored = StoredJob {
        manifest: federation.manifest.to_canonical().unwrap(),
        epoch: Some(vec![1, 2, 3]),
        state: None,
        answered: None,
        control: None,
    };
    federation.engines[0].resume(&stored).unwrap_err();
    assert!(federation.engines[0].job().is_none());
    federation.engines[0].hello("0");
    assert_eq!(code(federation.answer(0)), RefusalCode::Unsupported);
    // Another job would be a second one on this disk, until this one is over.
    let end = end_of(&federation);
    federation.manifest.nonce = "01".into();
    assert_eq!(code(federation.answer(0)), RefusalCode::Busy);
    federation.give(0, end);
    assert!(matches!(federation.persisted[0].last(), Some(Record::Ended { .. })));
    assert_eq!(federation.answer(0), JobAnswer::Accepted);
}
