//! What SCAFFOLD is for, and that the agencies' control variates stay with the shared one: rounds of
//! five agencies with the real vectors and the real server step, without keys and masks.

use tributary_dp::SecretRng;
use tributary_job::{Manifest, ModelState, Plan};
use tributary_training::{Dataset, ReferenceTrainer, Trainer};

use super::super::make;
use crate::fixtures::{Federation, job_without_noise};

/// The chance of y rises with x at all agencies, around another x at some than at others.
const LOW: [(u8, u8); 8] = [(1, 0), (2, 0), (3, 1), (4, 0), (5, 1), (6, 1), (2, 1), (5, 0)];
const HIGH: [(u8, u8); 8] = [(4, 0), (5, 0), (6, 0), (7, 0), (8, 1), (9, 1), (6, 1), (9, 0)];

fn tables() -> [Vec<(u8, u8)>; 5] {
    let mixed = [&LOW[..4], &HIGH[4..]].concat();
    [LOW.to_vec(), LOW.to_vec(), HIGH.to_vec(), HIGH.to_vec(), mixed]
}

/// Twenty steps of the whole table in each of sixty rounds.
fn job(scaffold: bool) -> String {
    let local = format!(
        "[training.local]\nepochs = 20\nbatch_size = 10\nlearning_rate = 0.5\nscaffold = \
         {scaffold}\n\n[privacy]"
    );
    let job = job_without_noise()
        .replace("max = 10.0 }", "max = 10.0, scaling = \"unit\" }")
        .replace("rounds = 3\nlearning_rate = 0.5", "rounds = 60\nlearning_rate = 1.0")
        .replace("clip_norm = 1.0\nsampling_rate = 0.5", "clip_norm = 4.0\nsampling_rate = 1.0");
    job.replace("[privacy]", &local)
}

struct Silos {
    manifest: Manifest,
    plan: Plan,
    data: Vec<Dataset>,
    trainer: Box<dyn Trainer>,
    state: ModelState,
    own: Vec<Option<Vec<f32>>>,
    rng: SecretRng,
}

impl Silos {
    fn new(scaffold: bool, tables: &[Vec<(u8, u8)>]) -> Self {
        let Federation { manifest, plan, .. } = Federation::new(&job(scaffold));
        let spec = &manifest.spec;
        let read = |rows: &Vec<(u8, u8)>| {
            let rows: String = rows.iter().map(|(x, y)| format!("{x},{y}\n")).collect();
            Dataset::read_tolerant(format!("x,y\n{rows}").as_bytes(), &spec.data).unwrap().0
        };
        let state = plan.initial_state(&manifest);
        Self {
            data: tables.iter().map(read).collect(),
            trainer: Box::new(ReferenceTrainer::new(&spec.model, 1, 1)),
            own: vec![state.control.clone(); tables.len()],
            rng: SecretRng::danger_deterministic([5; 32]),
            state,
            manifest,
            plan,
        }
    }

    /// A round in which these agencies' vectors are in the sum.
    fn round(&mut self, survivors: &[usize]) {
        let operation = self.plan.operation(self.state.completed).unwrap();
        let mut sum = vec![0; operation.vector_len as usize];
        for i in survivors {
            let (data, own) = (&self.data[*i], self.own[*i].as_deref());
            let trainer = self.trainer.as_mut();
            let made = make(operation, data, trainer, &self.state, own, None, &mut self.rng);
            let made = made.unwrap();
            let values = operation.from_lanes(&made.lanes);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            self.own[*i] = made.control;
        }
        let next = self.plan.apply(&self.manifest, &self.state, &sum, survivors.len());
        self.state = next.unwrap();
    }

    /// How far c is from the mean of all c_i.
    fn apart(&self) -> f32 {
        let shared = self.state.control.as_ref().unwrap();
        let mean = |j: usize| {
            let all = self.own.iter().map(|own| own.as_ref().unwrap()[j]);
            all.sum::<f32>() / self.own.len() as f32
        };
        (0..shared.len()).map(|j| (shared[j] - mean(j)).abs()).fold(0.0, f32::max)
    }

    fn distance(&self, optimum: [f64; 2]) -> f64 {
        let pairs = self.state.parameters.iter().zip(optimum);
        pairs.map(|(p, o)| (f64::from(*p) - o).powi(2)).sum::<f64>().sqrt()
    }
}

/// Gradient descent on all records, in plain f64 and with no code of the crate.
fn pooled_optimum() -> [f64; 2] {
    let rows: Vec<(u8, u8)> = tables().concat();
    let mut w = [0.0; 2];
    for _ in 0..10_000 {
        let mut gradient = [0.0; 2];
        for (x, y) in &rows {
            let u = f64::from(*x) / 5.0 - 1.0;
            let residual = 1.0 / (1.0 + (-w[0] * u - w[1]).exp()) - f64::from(*y);
            gradient = [gradient[0] + residual * u, gradient[1] + residual];
        }
        w = [0, 1].map(|j| w[j] - gradient[j] / rows.len() as f64);
    }
    w
}

/// Each agency's optimum is another. FedAvg settles where the agencies' drifts cancel, SCAFFOLD where
/// their gradients do.
#[test]
fn fedavg_settles_off_the_pooled_optimum_and_scaffold_on_it() {
    let optimum = pooled_optimum();
    let settles = |scaffold, survivors: &dyn Fn(usize) -> Vec<usize>| {
        let mut silos = Silos::new(scaffold, &tables());
        (0..60).for_each(|round| silos.round(&survivors(round)));
        silos.distance(optimum)
    };
    let everybody = |_: usize| vec![0, 1, 2, 3, 4];
    let fedavg = settles(false, &everybody);
    assert!(fedavg > 0.4, "{fedavg} from {optimum:?}");
    let scaffold = settles(true, &everybody);
    assert!(scaffold < 0.03, "{scaffold} from {optimum:?}");
    // Also if every second round loses somebody.
    let lossy = |round: usize| -> Vec<usize> {
        (0..5).filter(|i| round.is_multiple_of(2) || *i != round / 2 % 5).collect()
    };
    let scaffold = settles(true, &lossy);
    assert!(scaffold < 0.05, "{scaffold} from {optimum:?}");
}

/// Over any losses, and with an agency that has no records.
#[test]
fn the_shared_control_variate_is_the_mean_of_the_agencies() {
    let mut tables = tables();
    tables[4].clear();
    let mut silos = Silos::new(true, &tables);
    let mut moved = 0.0f32;
    for round in 0..40usize {
        let lost = [round % 7, round % 3 + 2];
        let survivors: Vec<usize> = (0..5).filter(|i| !lost.contains(i)).collect();
        silos.round(&survivors);
        assert!(silos.apart() < 1e-5, "round {round}: {}", silos.apart());
        moved = moved.max(silos.state.control.as_ref().unwrap()[0].abs());
    }
    assert!(moved > 0.01, "it never moved");
    // The gradient of an agency without records is zero, and that is what it knows of itself.
    silos.round(&[0, 1, 2, 3, 4]);
    let nobody = silos.own[4].as_ref().unwrap();
    assert!(nobody.iter().all(|v| v.abs() < 0.01), "{nobody:?}");
}

#[test]
fn after_a_round_an_agency_knows_its_mean_gradient() {
    let mut silos = Silos::new(true, &tables());
    let before = silos.state.clone();
    silos.round(&[0, 1, 2, 3, 4]);
    // (x - y) / (K eta), by plain training of the same steps: c and c_i are still zero.
    let settings = tributary_training::local::LocalTraining {
        epochs: 20,
        batch_size: 10,
        optimiser: tributary_training::local::Optimiser::Sgd { learning_rate: 0.5, momentum: 0.0 },
        seed: 1,
        proximal: 0.0,
    };
    let rows: Vec<u32> = (0..8).collect();
    for (own, dataset) in silos.own.iter().zip(&silos.data) {
        let source = [tributary_training::local::Source { dataset, rows: &rows }];
        let start = before.parameters.clone();
        let trainer = silos.trainer.as_mut();
        let norm = &before.normalisation;
        let after =
            tributary_training::local::train(trainer, &source, norm, start, &settings).unwrap();
        let moves = before.parameters.iter().zip(&after).map(|(x, y)| (x - y) / 10.0);
        // Within one unit of the vector, of which there are 35 in one.
        for (own, mean) in own.as_ref().unwrap().iter().zip(moves) {
            assert!((own - mean).abs() < 0.004, "{own} {mean}");
        }
    }
}

#[test]
fn a_round_without_control_variates_is_an_error() {
    let mut silos = Silos::new(true, &tables());
    let operation = silos.plan.training.clone();
    let (data, trainer, state) = (&silos.data[0], silos.trainer.as_mut(), &silos.state);
    let none = make(&operation, data, trainer, state, None, None, &mut silos.rng);
    assert!(none.err().unwrap().contains("without its control variates"));
    let short = make(&operation, data, trainer, state, Some(&[0.0]), None, &mut silos.rng);
    assert!(short.err().unwrap().contains("without its control variates"));
}
