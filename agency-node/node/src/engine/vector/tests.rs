//! Sampling, grouping and clipping of records and persons.

use super::*;
use tributary_dp::{DiscreteGaussian, NoiseScope, Release, ReleaseParameters};
use tributary_job::ParameterLayout;
use tributary_job::plan::FLOAT_ERROR;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelSpec, ModelSpec, Transform};
use tributary_training::{ClippedSum, ReferenceTrainer};

#[test]
fn the_plan_allows_for_the_rounding_of_every_summation_used() {
    let records = MAX_RECORDS_PER_NODE;
    assert!(tributary_training::float_error(records as usize) <= FLOAT_ERROR);
    assert!(
        tributary_training::unit_float_error(records as usize, records as usize) <= FLOAT_ERROR
    );
    assert!(tributary_dp::summation_error(records).unwrap() <= FLOAT_ERROR);
    assert!(records as usize <= tributary_training::trainer::MAX_RECORDS);
}

#[test]
fn summing_by_groups_lengthens_no_chain_of_additions() {
    // The first addition to zero is exact and rounds nothing.
    let additions = |parts: usize| parts.saturating_sub(1);
    for records in (1..40 * GROUP).step_by(37).chain([MAX_RECORDS_PER_NODE as usize]) {
        let microbatches = records.div_ceil(MICROBATCH);
        let within = additions(microbatches.min(GROUP / MICROBATCH));
        let over = additions(records.div_ceil(GROUP));
        assert!(within + over <= additions(microbatches), "{records}");
    }
}

/// Notes how many rows it is given at a time.
struct Watched(ReferenceTrainer, Vec<usize>);

impl Trainer for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }
    fn dimension(&self) -> usize {
        self.0.dimension()
    }
    fn outputs(&self) -> usize {
        self.0.outputs()
    }
    fn clipped_gradient_sum(
        &mut self,
        parameters: &[f32],
        batch: &Batch<'_>,
        clip_norm: f64,
    ) -> Result<ClippedSum, TrainerError> {
        self.1.push(batch.len());
        self.0.clipped_gradient_sum(parameters, batch, clip_norm)
    }
    fn gradient_sum(&mut self, p: &[f32], b: &Batch<'_>) -> Result<Vec<f64>, TrainerError> {
        self.0.gradient_sum(p, b)
    }
    fn predict(&mut self, p: &[f32], f: Rows<'_>) -> Result<Vec<f32>, TrainerError> {
        self.0.predict(p, f)
    }
}

fn operation(layout: &ParameterLayout) -> OperationPlan {
    OperationPlan {
        operation: Operation::Training,
        vector_len: layout.total() as u32,
        clip_norm: 0.5,
        scale: 1000.0,
        count_scale: None,
        clamp: 1 << 30,
        lane_bits: 32,
        max_records: MAX_RECORDS_PER_NODE,
        sampling_rate: 1.0,
        unit: Unit::Record,
        local: None,
        release: None,
        rotation_key: None,
        local_steps: None,
        holdout: 0.0,
    }
}

#[test]
fn a_large_batch_comes_in_groups_and_gives_the_same_sum() {
    let numeric = FeatureSpec::numeric("x", 0.0, 1000.0, Transform::Identity);
    let spec = DataSpec::new(LabelSpec::binary("y", "1", "0"), vec![numeric]);
    let mut text = String::from("x,y\n");
    for i in 0..2 * GROUP + 5 {
        text += &format!("{},{}\n", i * 7 % 1000, i % 2);
    }
    let data = Dataset::read_csv(text.as_bytes(), &spec).unwrap();
    let model = ModelSpec::Mlp { hidden: vec![3] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let state = ModelState::initial(&layout, 1, 7);
    let operation = operation(&layout);
    let mut trainer = Watched(ReferenceTrainer::new(&model, 1, 1), Vec::new());
    let all: Vec<u32> = (0..data.len() as u32).collect();
    let sum =
        clipped_gradients(&operation, None, &data, &mut trainer, &state, &all).unwrap().values;
    assert_eq!(trainer.1, [GROUP, GROUP, 5]);
    let mut features = Vec::new();
    data.features(&all, &state.normalisation, &mut features);
    let labels = data.labels(&all);
    let batch = Batch::new(Rows::new(&features, 1).unwrap(), &labels).unwrap();
    let whole = trainer.0.clipped_gradient_sum(&state.parameters, &batch, 0.5).unwrap();
    assert!(sum.iter().zip(&whole.sum).all(|(a, b)| (a - b).abs() < 1e-8));
    // Nothing drawn: zeros of the full length, not an error.
    let none = clipped_gradients(&operation, None, &data, &mut trainer, &state, &[]).unwrap();
    assert_eq!((none.values, none.count), (vec![0.0; layout.total()], 0.0));
}

/// 600 persons with 1 to 16 records; one value apiece, so that their gradients add up.
fn table_of_persons() -> (Dataset, DataSpec) {
    let numeric = FeatureSpec::numeric("x", 0.0, 600.0, Transform::Identity);
    let mut spec = DataSpec::new(LabelSpec::binary("y", "1", "0"), vec![numeric]);
    spec.person_column = Some("who".into());
    let mut text = String::from("who,x,y\n");
    for round in 0..20 {
        for person in 0..600 {
            if person % 20 >= round {
                text += &format!("p{person},{person},{}\n", person % 2);
            }
        }
    }
    (Dataset::read_csv(text.as_bytes(), &spec).unwrap(), spec)
}

#[test]
fn with_persons_as_units_each_is_clipped_as_a_whole() {
    let (data, _) = table_of_persons();
    let persons = data.persons().unwrap();
    assert_eq!(persons.len(), 600);
    let model = ModelSpec::Mlp { hidden: vec![3] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let state = ModelState::initial(&layout, 1, 7);
    let operation = OperationPlan { clip_norm: 1e-3, ..operation(&layout) };
    let mut trainer = Watched(ReferenceTrainer::new(&model, 1, 1), Vec::new());
    let all: Vec<u32> = (0..600).collect();
    let mut run = |sample: &[u32]| {
        clipped_gradients(&operation, Some(persons), &data, &mut trainer, &state, sample)
            .unwrap()
            .values
    };
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let mut expected = vec![0.0; layout.total()];
    for person in &all {
        let own = run(&[*person]);
        assert!(norm(&own) <= 1e-3 && norm(&own) > 0.99e-3, "a person weighs one clip norm");
        expected.iter_mut().zip(&own).for_each(|(e, v)| *e += v);
    }
    let found = run(&all);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
    trainer.1.clear();
    let groups = groups(Some(persons), &all);
    assert!(groups.len() > 1 && groups.iter().all(|g| g.rows.len() <= GROUP));
    let rows: usize = groups.iter().map(|g| g.rows.len()).sum();
    assert_eq!(rows, data.len(), "nobody is lost");
}

#[test]
fn the_unit_decides_what_is_summed_and_persons_need_a_column() {
    let (data, mut spec) = table_of_persons();
    let model = ModelSpec::Mlp { hidden: vec![] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let state = ModelState::initial(&layout, 1, 7);
    let mut trainer = ReferenceTrainer::new(&model, 1, 1);
    let statistics = OperationPlan {
        operation: Operation::Statistics,
        vector_len: 3,
        clip_norm: 3f64.sqrt(),
        ..operation(&layout)
    };
    let mut rng = SecretRng::danger_deterministic([1; 32]);
    let mut count = |unit, data: &Dataset, operation: &OperationPlan| {
        let operation = OperationPlan { unit, ..operation.clone() };
        let made = make(&operation, data, &mut trainer, &state, None, None, &mut rng)?;
        Ok::<_, String>(operation.from_lanes(&made.lanes)[0] as f64 / operation.scale)
    };
    let records = count(Unit::Record, &data, &statistics).unwrap();
    assert!((records - data.len() as f64).abs() < 1.0);
    let persons = count(Unit::Person, &data, &statistics).unwrap();
    assert!(persons > 600.0 && persons < 600.0 * 3f64.sqrt() + 1.0, "{persons}");
    let fewer = OperationPlan { max_records: 10, ..statistics.clone() };
    assert!(count(Unit::Person, &data, &fewer).unwrap() < 18.0, "ten persons, not ten records");
    spec.person_column = None;
    let without = Dataset::read_csv(&b"who,x,y\np,1,0\n"[..], &spec).unwrap();
    assert!(count(Unit::Person, &without, &statistics).unwrap_err().contains("person_column"));
}

#[test]
fn a_release_for_single_records_refuses_a_table_that_leaves_out_rows_of_persons() {
    let (data, _) = table_of_persons();
    let model = ModelSpec::Mlp { hidden: vec![] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let state = ModelState::initial(&layout, 1, 7);
    let mut trainer = ReferenceTrainer::new(&model, 1, 1);
    let release = Release::derive(&ReleaseParameters {
        clip_norm: 0.5,
        dimension: layout.total(),
        noise_multiplier: 1.0,
        sampling_rate: 1.0,
        cohort: 5,
        min_survivors: 4,
        colluders: 1,
        float_error: FLOAT_ERROR,
        max_units_per_node: 1000,
        noise: NoiseScope::Distributed,
        count_noise: None,
        compact: None,
    });
    let release = release.unwrap();
    let noise = DiscreteGaussian::new(release.sigma_local).unwrap();
    let operation = OperationPlan {
        scale: release.scale,
        clamp: release.clamp,
        lane_bits: release.lane_bits,
        release: Some(release),
        ..operation(&layout)
    };
    let mut rng = SecretRng::danger_deterministic([1; 32]);
    let mut run = |unit| {
        let operation = OperationPlan { unit, ..operation.clone() };
        let noise = Some(noise.prepare(operation.vector_len as usize, &mut rng));
        make(&operation, &data, &mut trainer, &state, None, noise, &mut rng).err()
    };
    assert!(run(Unit::Record).unwrap().contains("single records"));
    assert_eq!(run(Unit::Person), None);
}

#[test]
fn groups_of_persons_lengthen_no_chain_beyond_the_bound() {
    // Two neighbouring microbatches, and two neighbouring groups, are more than one full one.
    for records in [1, 255, 5000, 100_000, MAX_RECORDS_PER_NODE as usize] {
        let within = 2 * GROUP.min(records).div_ceil(MICROBATCH) + 1;
        let over = 2 * records.div_ceil(GROUP) + 1;
        let allowed = 2 * records.div_ceil(MICROBATCH) + 64;
        assert!(within + over <= allowed + 1, "{records}: {within} + {over}, {allowed}");
    }
}

#[test]
fn an_agency_as_the_unit_weighs_one_clip_norm_however_many_records_it_has() {
    let numeric = FeatureSpec::numeric("x", 0.0, 1000.0, Transform::Identity);
    let spec = DataSpec::new(LabelSpec::binary("y", "1", "0"), vec![numeric]);
    let rows: String = (0..500).map(|i| format!("{},{}\n", i * 2, u8::from(i > 250))).collect();
    let data = Dataset::read_csv(format!("x,y\n{rows}").as_bytes(), &spec).unwrap();
    let model = ModelSpec::Mlp { hidden: vec![4] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let state = ModelState::initial(&layout, 1, 7);
    let mut trainer = ReferenceTrainer::new(&model, 1, 1);
    let mut rng = SecretRng::danger_deterministic([3; 32]);
    let local = LocalSpec {
        epochs: 3,
        batch_size: 32,
        learning_rate: 0.1,
        momentum: 0.5,
        optimiser: OptimiserKind::Sgd,
        decay: 1.0,
        proximal: 0.0,
        scaffold: false,
    };
    let mut change = |local: LocalSpec, clip_norm: f64| {
        let operation = OperationPlan {
            clip_norm,
            scale: 1e6,
            unit: Unit::Silo,
            local: Some(local),
            ..operation(&layout)
        };
        let made = make(&operation, &data, &mut trainer, &state, None, None, &mut rng).unwrap();
        let sum = operation.from_lanes(&made.lanes);
        let sum: Vec<f64> = sum.iter().map(|v| *v as f64 / operation.scale).collect();
        (sum.iter().map(|v| v * v).sum::<f64>().sqrt(), made.non_finite)
    };
    let (free, _) = change(local, 1000.0);
    assert!(free > 0.05 && free < 100.0, "{free}");
    let (clipped, _) = change(local, free / 10.0);
    assert!((clipped / (free / 10.0) - 1.0).abs() < 1e-2, "{clipped}");
    let adam = LocalSpec { momentum: 0.0, optimiser: OptimiserKind::Adam, ..local };
    let (moved, _) = change(adam, 1000.0);
    assert!(moved > 0.05 && (moved - free).abs() > 1e-3, "{moved}");
    // A model that diverges here hands in zeros, and the operator hears of it.
    let diverging = LocalSpec { learning_rate: f32::MAX, momentum: 0.9, ..local };
    assert_eq!(change(diverging, 1.0), (0.0, 1));
    // The moments of an agency are means, within the norm of one record's.
    let statistics = OperationPlan {
        operation: Operation::Statistics,
        vector_len: 3,
        clip_norm: 3f64.sqrt(),
        unit: Unit::Silo,
        ..operation(&layout)
    };
    let made = make(&statistics, &data, &mut trainer, &state, None, None, &mut rng).unwrap();
    let sum = statistics.from_lanes(&made.lanes);
    assert_eq!(sum[0], statistics.scale as i64, "every cell present: one");
    assert!(sum.iter().all(|v| v.unsigned_abs() <= statistics.scale as u64 + 1));
}

/// With a wider clip norm the same integers say the same share of it: what a unit weighs in integers
/// never changes, and the count says how many were within.
#[test]
fn adaptive_clipping_scales_with_the_clip_norm_and_counts_units() {
    let numeric = FeatureSpec::numeric("x", 0.0, 1000.0, Transform::Identity);
    let spec = DataSpec::new(LabelSpec::binary("y", "1", "0"), vec![numeric]);
    let rows: String = (0..900).map(|i| format!("{i},{}\n", i % 2)).collect();
    let data = Dataset::read_csv(format!("x,y\n{rows}").as_bytes(), &spec).unwrap();
    let model = ModelSpec::Mlp { hidden: vec![] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let mut state = ModelState::initial(&layout, 1, 7);
    let mut trainer = ReferenceTrainer::new(&model, 1, 1);
    let mut rng = SecretRng::danger_deterministic([4; 32]);
    let operation = OperationPlan {
        clip_norm: 1e-4,
        scale: 1e7,
        count_scale: Some(100.0),
        vector_len: layout.total() as u32 + 1,
        ..operation(&layout)
    };
    let mut made = |state: &ModelState| {
        let made = make(&operation, &data, &mut trainer, state, None, None, &mut rng).unwrap();
        operation.from_lanes(&made.lanes)
    };
    let narrow = made(&state);
    assert_eq!(narrow.len(), layout.total() + 1);
    assert_eq!(narrow[2], -450 * 100, "all 900 were clipped");
    // Every unit still clipped: the integers stay what they were, up to rounding.
    state.clip_factor = Some(3.0);
    let wider = made(&state);
    assert!(narrow.iter().zip(&wider).all(|(a, b)| (a - b).abs() <= 1), "{narrow:?} {wider:?}");
    // Far above every norm: nobody is clipped, and the integers are small.
    state.clip_factor = Some(1e5);
    let widest = made(&state);
    assert_eq!(widest[2], 450 * 100);
    let mut features = Vec::new();
    let all: Vec<u32> = (0..900).collect();
    data.features(&all, &state.normalisation, &mut features);
    let labels = data.labels(&all);
    let batch = Batch::new(Rows::new(&features, 1).unwrap(), &labels).unwrap();
    let whole = trainer.gradient_sum(&state.parameters, &batch).unwrap();
    for (found, sum) in widest.iter().zip(&whole) {
        assert!((*found as f64 - sum * operation.scale / 1e5).abs() <= 1.0, "{found} {sum}");
    }
}

/// The pair that a cap by declared counts would have given away: one record in front of a table that
/// holds more than was declared. The sums of all records differ by that record alone.
#[test]
fn a_unit_more_pushes_no_other_out_of_a_private_sum() {
    let model = ModelSpec::Mlp { hidden: vec![] };
    let layout = ParameterLayout::of(&model, 1, 1);
    let state = ModelState::initial(&layout, 1, 7);
    let mut trainer = ReferenceTrainer::new(&model, 1, 1);
    let clip = 0.5;
    let release = Release::derive(&ReleaseParameters {
        clip_norm: clip,
        dimension: layout.total(),
        noise_multiplier: 1.0,
        sampling_rate: 1.0,
        cohort: 5,
        min_survivors: 4,
        colluders: 1,
        float_error: FLOAT_ERROR,
        max_units_per_node: 20,
        noise: NoiseScope::Distributed,
        count_noise: None,
        compact: None,
    });
    let release = release.unwrap();
    for persons in [false, true] {
        let numeric = FeatureSpec::numeric("x", 0.0, 1000.0, Transform::Identity);
        let mut spec = DataSpec::new(LabelSpec::binary("y", "1", "0"), vec![numeric]);
        spec.person_column = persons.then(|| "who".into());
        let rows: String = (0..40).map(|i| format!("p{i},{},1\n", i * 25)).collect();
        let data = |first: &str| {
            let text = format!("who,x,y\n{first}{rows}");
            Dataset::read_csv(text.as_bytes(), &spec).unwrap()
        };
        let operation = OperationPlan {
            clip_norm: clip,
            scale: release.scale,
            clamp: 1 << 30,
            max_records: 20,
            unit: if persons { Unit::Person } else { Unit::Record },
            release: Some(release.clone()),
            ..operation(&layout)
        };
        let mut sum = |data: &Dataset| {
            // The same rounding and noise on both sides: what differs is the unit.
            let mut rng = SecretRng::danger_deterministic([6; 32]);
            let noise = DiscreteGaussian::new(release.sigma_local).unwrap();
            let noise = noise.prepare(operation.vector_len as usize, &mut rng);
            let mut rng = SecretRng::danger_deterministic([7; 32]);
            let made = make(&operation, data, &mut trainer, &state, None, Some(noise), &mut rng);
            operation.from_lanes(&made.unwrap().lanes)
        };
        let (without, with) = (sum(&data("")), sum(&data("new,1000,0\n")));
        let squared = |(a, b): (&i64, &i64)| ((a - b) as f64).powi(2);
        let moved = without.iter().zip(&with).map(squared).sum::<f64>().sqrt();
        assert!(moved <= release.sensitivity, "{moved} of {}", release.sensitivity);
        assert!(moved > 0.9 * release.scale * clip, "the new one is in: {moved}");
    }
}
