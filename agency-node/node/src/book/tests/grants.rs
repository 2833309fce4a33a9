//! Grants: every kind of release pays, static plans at a fixed price, adaptive ones at one order;
//! what is no noise is deducted from delta; exhaustion says what would fit.

use tributary_dp::{JobPrivacy, NoiseScope, Release, ReleaseParameters};

use super::*;

const KINDS: [ReleaseKind; 5] = [
    ReleaseKind::Training,
    ReleaseKind::Statistics,
    ReleaseKind::Evaluation,
    ReleaseKind::Metrics,
    ReleaseKind::Audit,
];

fn privacy(z: f64, rounds: u32) -> JobPrivacy {
    let training = Release::derive(&ReleaseParameters {
        clip_norm: 1.0,
        dimension: 100,
        noise_multiplier: z,
        sampling_rate: 0.1,
        cohort: 10,
        min_survivors: 8,
        colluders: 1,
        float_error: 1e-6,
        max_units_per_node: 1000,
        noise: NoiseScope::Distributed,
        count_noise: None,
        compact: None,
    })
    .unwrap();
    JobPrivacy {
        statistics: None,
        statistics_releases: 0,
        evaluation: None,
        evaluation_releases: 0,
        training,
        training_releases: rounds,
        delta: 1e-6,
    }
}

fn advice(error: BookError) -> Advice {
    match error {
        BookError::Exhausted(exhausted) => exhausted.advice.unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_kind_of_release_pays_and_none_pays_for_another() {
    let identity = identity();
    for kind in KINDS {
        let (mut book, mut entries) = book(&identity, 8.0);
        let of = |kind, round| ChargeEntry { kind, ..charge("a", round) };
        entries.extend(book.reserve("d", "a", &plan(&[(kind, 20.0, 1)]), AT, &identity).unwrap());
        let unit = gaussian(20.0);
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            let refused = book.charge("d", of(other, 0), Some(&unit), AT, &identity);
            assert_eq!(refused.unwrap_err(), BookError::NotReserved("a".into()), "{other}");
        }
        entries.push(book.charge("d", of(kind, 0), Some(&unit), AT, &identity).unwrap());
        let second = book.charge("d", of(kind, 1), Some(&unit), AT, &identity);
        assert_eq!(second.unwrap_err(), BookError::NotReserved("a".into()));
        let spent = book.status("d").unwrap().spent;
        assert!(spent > 0.0);
        let body = &entries.last().unwrap().body;
        assert_eq!(body["charge"]["kind"], kind.to_string());
        assert_eq!(Book::replay(&entries).unwrap().status("d").unwrap().spent, spent);
    }
}

#[test]
fn a_static_plan_pays_its_price_and_states_its_best_order() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    let privacy = privacy(2.0, 50);
    let cost = JobCost::of(&privacy, ProtectedUnit::Record, 5).unwrap();
    book.reserve("d", "a", &cost, AT, &identity).unwrap();
    let order = book.account("d").unwrap().limit.order;
    let grant = book.account("d").unwrap().open["a"].grant.clone().unwrap();
    let one = privacy.training.rdp().unwrap().at(order).unwrap();
    assert_eq!(grant.lines[&ReleaseKind::Training], Line { releases: 50, each: one });
    let stated = grant.stated.unwrap();
    assert_eq!(stated.epsilon, privacy.epsilon().unwrap().epsilon);
    // The minimum over orders is the statement's alone: the book's number is at its own order.
    assert!(stated.epsilon <= book.status("d").unwrap().committed);
    // Dearer than granted is refused, cheaper pays in full.
    let dear = book.charge("d", charge("a", 0), Some(&gaussian(1.0)), AT, &identity);
    assert_eq!(dear.unwrap_err(), BookError::NotReserved("a".into()));
    book.charge("d", charge("a", 0), Some(&gaussian(1e4)), AT, &identity).unwrap();
    assert!(book.account("d").unwrap().charged() >= one);
}

#[test]
fn an_adaptive_plan_pays_release_by_release_at_the_one_order() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    let cost = JobCost {
        adaptive: Some(gaussian(5.0).times(2)),
        ..plan(&[(ReleaseKind::Training, 5.0, 100)])
    };
    entries.extend(book.reserve("d", "a", &cost, AT, &identity).unwrap());
    let order = book.account("d").unwrap().limit.order;
    let stated = book.account("d").unwrap().open["a"].grant.as_ref().unwrap().stated.unwrap();
    assert_eq!(stated.order, order, "no order is chosen afterwards");
    // One dear and many cheap ones, as results suggest: until the sum is used up.
    let mut release = |z: f64, round| {
        let entry = book.charge("d", charge("a", round), Some(&gaussian(z)), AT, &identity)?;
        entries.push(entry);
        Ok::<_, BookError>(())
    };
    release(5.0, 0).unwrap();
    assert_eq!(release(4.0, 1).unwrap_err(), BookError::NotReserved("a".into()));
    let cheap = (1..100).take_while(|round| release(10.0, *round).is_ok()).count();
    assert!((3..=4).contains(&cheap), "{cheap}");
    let replayed = Book::replay(&entries).unwrap();
    let job = &replayed.account("d").unwrap().open["a"];
    assert!(job.charged() <= job.reserved());
    assert_eq!(replayed.status("d"), book.status("d"));
}

#[test]
fn terms_besides_the_noise_accumulate_over_jobs_and_never_pass_delta() {
    let identity = identity();
    let (mut book, _) = book(&identity, 4.0);
    let limit = book.account("d").unwrap().limit;
    // A beta and a distance that nobody would overlook: each job takes a tenth of the kept part.
    let kept = limit.delta * limit.kept;
    let factor = 1.0 + limit.epsilon.exp();
    for (name, delta) in [
        ("beta", DeltaCost { additive: kept * 0.1, distance: 0.0 }),
        ("distance", DeltaCost { additive: 0.0, distance: kept * 0.1 / factor }),
    ] {
        let dataset = name;
        book.register(dataset, limit, AT, &identity).unwrap();
        let one = JobCost { delta, ..cost(200.0, 1) };
        let mut jobs = 0;
        let refused = loop {
            let job = format!("{name}-{jobs}");
            if let Err(error) = book.reserve(dataset, &job, &one, AT, &identity) {
                break error;
            }
            book.charge(dataset, charge(&job, 0), Some(&gaussian(200.0)), AT, &identity).unwrap();
            book.close(&job, AT, &identity).unwrap();
            jobs += 1;
            assert!(jobs < 20, "nothing adds up");
        };
        assert!((9..=10).contains(&jobs), "{name}: {jobs}");
        assert!(matches!(refused, BookError::DeltaExhausted { .. }), "{refused}");
        let account = book.account(dataset).unwrap();
        assert!(account.status().share < 0.5, "it is delta that is used up");
        let terms = account.delta_terms();
        assert!(factor * terms.distance + terms.additive <= kept);
        // What a job did not use is free again, its part of delta too.
        let unused = book.close(&format!("{name}-none"), AT, &identity).unwrap();
        assert!(unused.is_none());
    }
}

#[test]
fn an_unused_reservation_gives_its_part_of_delta_back() {
    let identity = identity();
    let (mut book, _) = book(&identity, 4.0);
    let before = book.status("d").unwrap();
    book.reserve("d", "a", &cost(200.0, 1), AT, &identity).unwrap();
    assert!(book.status("d").unwrap().delta_share > before.delta_share);
    book.close("a", AT, &identity).unwrap();
    assert_eq!(book.status("d").unwrap().delta_share, before.delta_share);
    // The terms of a job are those of its guarantee, free of its own factor 1 + e^epsilon.
    let terms = JobCost::of(&privacy(2.0, 50), ProtectedUnit::Record, 0).unwrap().delta;
    let least = DeltaCost::JOB;
    assert!(terms.additive >= least.additive && terms.distance >= least.distance);
    assert!(terms.additive < 1.01 * least.additive && terms.distance < 1.01 * least.distance);
}

#[test]
fn exhaustion_says_how_many_rounds_or_how_much_noise_would_fit() {
    let identity = identity();
    let (mut book, _) = book(&identity, 2.0);
    let job = |z, rounds| JobCost::of(&privacy(z, rounds), ProtectedUnit::Record, 10).unwrap();
    let refused = book.reserve("d", "a", &job(3.0, 300), AT, &identity).unwrap_err();
    let text = refused.to_string();
    let advice = advice(refused);
    let (rounds, spare) = advice.rounds.unwrap();
    assert_eq!(spare, 10);
    let noise = advice.noise_multiplier.unwrap();
    assert!(text.contains(&format!("at most {rounds} training rounds")), "{text}");
    assert!(text.contains(&format!("at least {noise}")), "{text}");
    // What is said to fit does, and a little more does not.
    let fits = |cost: &JobCost| {
        super::book(&identity, 2.0).0.reserve("d", "a", cost, AT, &identity).is_ok()
    };
    assert!(fits(&job(3.0, rounds + spare)) && !fits(&job(3.0, rounds + spare + 1)));
    assert!(fits(&job(noise, 300)) && !fits(&job(noise - 0.002, 300)));
}

#[test]
fn where_nothing_fits_any_more_the_sentence_says_so() {
    let identity = identity();
    let (mut book, _) = book(&identity, 2.0);
    let lone = cost(3.4, 1);
    book.reserve("d", "a", &lone, AT, &identity).unwrap();
    book.charge("d", charge("a", 0), Some(&gaussian(3.4)), AT, &identity).unwrap();
    book.close("a", AT, &identity).unwrap();
    let statistics = (ReleaseKind::Statistics, 1.0, 1);
    let job = plan(&[statistics, (ReleaseKind::Training, 9.0, 3)]);
    let refused = book.reserve("d", "b", &job, AT, &identity).unwrap_err();
    assert!(refused.to_string().contains("No number of rounds"), "{refused}");
    assert_eq!(advice(refused), Advice::default());
}
