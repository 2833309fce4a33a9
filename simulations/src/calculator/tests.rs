//! Each unknown, the documented example, refusals.

use super::*;

fn question() -> Question {
    Question {
        epsilon: None,
        noise_multiplier: Some(2.0),
        sampling_rate: Some(0.04),
        rounds: Some(300),
        delta: 1e-6,
        federation: None,
    }
}

fn federation() -> Option<Federation> {
    Some(Federation { nodes: 20, min_survivors: 17, colluders: 2, dimension: 10_000 })
}

#[test]
fn each_unknown_follows_from_the_other_three() {
    let epsilon = question().answer().unwrap().epsilon_bound;
    assert!((epsilon - 1.88).abs() < 0.01, "{epsilon}");
    let given = Question { epsilon: Some(epsilon), ..question() };
    let noise = Question { noise_multiplier: None, ..given.clone() }.answer().unwrap();
    assert!((noise.noise_multiplier - 2.0).abs() < 1e-5 && noise.calculated == "noise multiplier");
    let rounds = Question { rounds: None, ..given.clone() }.answer().unwrap();
    assert_eq!((rounds.rounds, rounds.calculated), (300, "rounds"));
    let rate = Question { sampling_rate: None, ..given }.answer().unwrap();
    assert!((rate.sampling_rate - 0.04).abs() < 1e-5, "{}", rate.sampling_rate);
    let text = noise.to_string();
    assert!(text.contains("<- calculated") && text.contains("epsilon, estimate"), "{text}");
}

#[test]
fn four_adversaries_and_the_width_of_a_lane() {
    let answer = Question { federation: federation(), ..question() }.answer().unwrap();
    let bounds: Vec<_> = answer.adversaries.iter().map(|a| a.epsilon_bound.unwrap()).collect();
    assert!(bounds.windows(2).all(|w| w[0] < w[1]), "{bounds:?}");
    assert!((bounds[2] - 1.88).abs() < 0.01 && answer.epsilon_bound == bounds[2]);
    for a in &answer.adversaries {
        assert!(a.epsilon_estimate.unwrap() < a.epsilon_bound.unwrap());
    }
    let lanes = answer.lanes.as_ref().unwrap();
    assert_eq!(lanes.vector_bytes, (10_000 * u64::from(lanes.bits)).div_ceil(8));
    assert!(answer.to_string().contains("bytes against noise"));
    let target = Question { epsilon: Some(2.0), noise_multiplier: None, ..question() };
    let met = Question { federation: federation(), ..target }.answer().unwrap();
    assert!(met.epsilon_bound <= 2.0 && met.epsilon_bound > 1.99);
}

#[test]
fn a_sweep_has_less_noise_for_more_epsilon() {
    let asked = Question { noise_multiplier: None, rounds: None, ..question() };
    let sweep = Sweep::of(&asked).unwrap();
    assert_eq!(sweep.rows.len(), 15);
    let at = |e: f64| sweep.rows.iter().find(|r| r.epsilon == e).unwrap();
    assert!(at(8.0).noise_multiplier.unwrap() < at(0.5).noise_multiplier.unwrap());
    for row in &sweep.rows {
        assert!(row.epsilon_bound.unwrap() <= row.epsilon);
        assert!(row.epsilon_estimate.unwrap() < row.epsilon);
    }
    assert!(sweep.to_string().contains("estimate"));
    assert!(Sweep::of(&question()).is_err(), "the noise is what a sweep calculates");
}

#[test]
fn refusals_say_what_to_do() {
    let refused = |q: Question| q.answer().unwrap_err().to_string();
    let two = refused(Question { rounds: None, ..question() });
    assert!(two.contains("exactly three of --epsilon"), "{two}");
    let four = refused(Question { epsilon: Some(1.0), ..question() });
    assert!(four.contains("exactly three"), "{four}");
    let wild = refused(Question { sampling_rate: Some(2.0), ..question() });
    assert!(wild.contains("sampling_rate = 2") && wild.contains("in (0, 1]"), "{wild}");
    let little = Question { epsilon: Some(0.001), rounds: None, ..question() };
    let little = refused(Question { noise_multiplier: Some(0.5), ..little });
    assert!(little.contains("not even one round"), "{little}");
    let alone = Federation { nodes: 3, min_survivors: 1, colluders: 1, dimension: 9 };
    let alone = refused(Question { federation: Some(alone), ..question() });
    assert!(alone.contains("no honest noise"), "{alone}");
}
