//! The loss by hand, the conformance suite, and Cox's own estimator as the reference.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use tributary_job::{Normalisation, ParameterLayout};

use super::*;
use crate::local::{LocalTraining, Optimiser, Source, train};
use crate::{Dataset, evaluate};
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, Scaling, Transform};

fn model(intervals: &[f64]) -> ModelSpec {
    ModelSpec::Cox { intervals: intervals.to_vec() }
}

#[test]
fn conforms() {
    crate::conformance::suite_over(
        &|model, inputs, _| Box::new(CoxTrainer::new(model, inputs).unwrap()),
        &[(model(&[0.5, 1.0, 4.0]), 6, 1), (model(&[2.0]), 3, 1)],
    );
}

#[test]
fn what_was_lived_through_by_hand() {
    let trainer = CoxTrainer::new(&model(&[1.0, 3.0]), 1).unwrap();
    let followed = |whole, part, event, known| Some(Followed { whole, part, event, known });
    for (label, wanted) in [
        (0.0, followed(0, 0.0, Some(0), true)),
        (-0.0, followed(0, 0.0, None, false)),
        (1.0, followed(0, 1.0, Some(0), true)),
        (-2.0, followed(1, 0.5, None, false)),
        (2.5, followed(1, 0.75, Some(1), true)),
        (-3.0, followed(1, 1.0, None, true)),
        // Beyond the last end: followed up to it, without an event.
        (7.0, followed(2, 0.0, None, true)),
        (-7.0, followed(2, 0.0, None, true)),
        (f32::NAN, None),
        (f32::INFINITY, None),
    ] {
        assert_eq!(trainer.followed(label), wanted, "{label}");
    }
}

#[test]
fn a_gradient_and_a_loss_by_hand() {
    // beta = ln 2, x = 1; alpha = (0, ln 3): followed through interval 1 and half of interval 2, then
    // the event. Expected: 2 and 0.5 * 6 = 3, so the residual is 4.
    let mut trainer = CoxTrainer::new(&model(&[1.0, 3.0]), 1).unwrap();
    let parameters = [2f32.ln(), 0.0, 3f32.ln()];
    let batch = Batch::new(Rows::new(&[1.0], 1).unwrap(), &[2.0]).unwrap();
    let gradient = trainer.gradient_sum(&parameters, &batch).unwrap();
    for (found, wanted) in gradient.iter().zip([4.0, 2.0, 2.0]) {
        assert!((found - wanted).abs() < 1e-6, "{gradient:?}");
    }
    let losses = trainer.event_losses(&parameters, &batch).unwrap();
    assert!((losses.nats - (5.0 - 6f64.ln())).abs() < 1e-6);
    assert_eq!((losses.known, losses.right), (1, 1));
    // 2 + 6 expected by the end.
    let p = trainer.predict(&parameters, batch.rows()).unwrap();
    assert!((f64::from(p[0]) - (1.0 - (-8f64).exp())).abs() < 1e-6);
    let clipped = trainer.clipped_gradient_sum(&parameters, &batch, 0.5).unwrap();
    let norm = clipped.sum.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!(norm <= 0.5 && norm > 0.499 && clipped.within == 0);
}

#[test]
fn another_family_and_intervals_that_do_not_rise_are_refused() {
    for wrong in [ModelSpec::Mlp { hidden: vec![] }, model(&[]), model(&[2.0, 1.0]), model(&[0.0])]
    {
        assert!(CoxTrainer::new(&wrong, 2).is_err());
    }
}

/// Log hazard ratios of the made-up records.
const TRUE: [f64; 3] = [0.7, -0.5, 0.3];

/// Uniform draws.
struct Draws(ChaCha20Rng);

impl Draws {
    fn unit(&mut self) -> f64 {
        (f64::from(self.0.next_u32()) + 0.5) / 4_294_967_296.0
    }
}

/// A record: features within +-1, time, whether the event came.
type Life = ([f64; 3], f64, bool);

/// Lives with a Weibull baseline, whose hazard rises with time (so no interval's is constant), and
/// independent ends of follow-up.
fn lives(count: usize) -> Vec<Life> {
    let mut draws = Draws(ChaCha20Rng::seed_from_u64(8));
    (0..count)
        .map(|_| {
            let x = [0; 3].map(|_| draws.unit() * 2.0 - 1.0);
            let score: f64 = x.iter().zip(TRUE).map(|(x, b)| x * b).sum();
            let time = (-draws.unit().ln() / (0.05 * score.exp())).powf(1.0 / 1.5);
            let until = draws.unit() * 16.0;
            (x, time.min(until), time <= until)
        })
        .collect()
}

/// Cox's partial likelihood by Newton's method, with Breslow's sums over everybody at risk.
#[allow(clippy::needless_range_loop, reason = "matrices are read by index")]
fn newton(lives: &[Life]) -> [f64; 3] {
    let mut order: Vec<&Life> = lives.iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut beta = [0.0; 3];
    for _ in 0..25 {
        let (mut gradient, mut hessian) = ([0.0; 3], [[0.0; 3]; 3]);
        let (mut s0, mut s1, mut s2) = (0.0, [0.0; 3], [[0.0; 3]; 3]);
        for (x, _, event) in &order {
            let risk = x.iter().zip(beta).map(|(x, b)| x * b).sum::<f64>().exp();
            s0 += risk;
            for i in 0..3 {
                s1[i] += risk * x[i];
                (0..3).for_each(|j| s2[i][j] += risk * x[i] * x[j]);
            }
            if *event {
                for i in 0..3 {
                    gradient[i] += x[i] - s1[i] / s0;
                    (0..3).for_each(|j| hessian[i][j] += s2[i][j] / s0 - s1[i] * s1[j] / s0 / s0);
                }
            }
        }
        let step = solve(hessian, gradient);
        (0..3).for_each(|i| beta[i] += step[i]);
        if step.iter().all(|s| s.abs() < 1e-12) {
            break;
        }
    }
    beta
}

/// Gauss without pivots: the matrix is positive definite.
#[allow(clippy::needless_range_loop, reason = "matrices are read by index")]
fn solve(mut a: [[f64; 3]; 3], mut b: [f64; 3]) -> [f64; 3] {
    for i in 0..3 {
        for k in i + 1..3 {
            let factor = a[k][i] / a[i][i];
            (i..3).for_each(|j| a[k][j] -= factor * a[i][j]);
            b[k] -= factor * b[i];
        }
    }
    for i in (0..3).rev() {
        (i + 1..3).for_each(|j| b[i] -= a[i][j] * b[j]);
        b[i] /= a[i][i];
    }
    b
}

fn table(lives: &[Life]) -> Dataset {
    let feature = |column: &str| FeatureSpec::Numeric {
        column: column.into(),
        min: -1.0,
        max: 1.0,
        transform: Transform::Identity,
        scaling: Scaling::Unit,
    };
    let label = LabelSpec::time_to_event("event", "1", "0", "time");
    let spec = DataSpec::new(label, vec![feature("a"), feature("b"), feature("c")]);
    let mut text = String::from("a,b,c,time,event\n");
    for (x, time, event) in lives {
        text += &format!("{},{},{},{time},{}\n", x[0], x[1], x[2], u8::from(*event));
    }
    Dataset::read_csv(text.as_bytes(), &spec).unwrap()
}

/// Trained as agencies train between rounds, with twelve intervals: within 0.02 of what Cox's partial
/// likelihood says of the same records, and both near the truth (three standard errors are about 0.1).
#[test]
fn coefficients_are_those_of_the_partial_likelihood() {
    let lives = lives(4000);
    let events = lives.iter().filter(|life| life.2).count();
    assert!((1500..3500).contains(&events), "{events}");
    let cox = newton(&lives);
    let data = table(&lives);
    let ends: Vec<f64> = (1..=12).map(|i| f64::from(i) * 16.0 / 12.0).collect();
    let mut trainer = CoxTrainer::new(&model(&ends), 3).unwrap();
    let rows: Vec<u32> = (0..4000).collect();
    let norm = Normalisation::identity(0);
    let mut parameters = ParameterLayout::of(&model(&ends), 3, 1).initial_parameters(1);
    let before = evaluate(&mut trainer, &parameters, &data, &rows, &norm).unwrap();
    for learning_rate in [0.05, 0.01, 0.002] {
        let optimiser = Optimiser::Adam { learning_rate };
        let settings =
            LocalTraining { epochs: 30, batch_size: 1000, optimiser, seed: 1, proximal: 0.0 };
        let source = [Source { dataset: &data, rows: &rows }];
        parameters = train(&mut trainer, &source, &norm, parameters, &settings).unwrap();
    }
    for ((found, cox), truth) in parameters.iter().zip(cox).zip(TRUE) {
        let found = f64::from(*found);
        assert!((found - cox).abs() < 0.02, "{parameters:?} but Cox says {cox}");
        assert!((found - truth).abs() < 0.1, "{parameters:?} but the truth is {truth}");
    }
    // A rising hazard shows in the baseline.
    assert!(parameters[3] < parameters[7] && parameters[7] < parameters[11], "{parameters:?}");
    let after = evaluate(&mut trainer, &parameters, &data, &rows, &norm).unwrap();
    assert_eq!(before.auc, Some(0.5), "nobody's hazard differs at first");
    assert!(after.auc.unwrap() > 0.6 && after.auc.unwrap() < 0.75, "{after:?}");
    assert!(after.log_loss.unwrap() < before.log_loss.unwrap() - 0.03, "{after:?}");
    assert!(after.accuracy.unwrap() > 0.5);
}
