//! The example jobs of families `cnn` and `cox`, and what the check says of them when they are wrong.

use super::*;
use tributary_ledger::canonical_json;

const DIGITS: &str = include_str!("../../../../deploy/demo/digits-cnn.toml");
const SURVIVAL: &str = include_str!("../../../../deploy/demo/survival.toml");

fn refused(text: &str, from: &str, to: &str) -> String {
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text, "{from} is not in the job");
    JobSpec::from_toml(&changed).unwrap_err().to_string()
}

#[test]
fn defaults_are_not_written() {
    let job = JobSpec::from_toml(DIGITS).unwrap();
    let json = canonical_json(&job.model).unwrap();
    assert_eq!(
        json,
        r#"{"channels":[8,16],"family":"cnn","image":{"height":28,"width":28},"kernel":5}"#
    );
    assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), job.model);
    assert_eq!(job.model.parameters(784, 10), Some(5994));
    let job = JobSpec::from_toml(SURVIVAL).unwrap();
    assert_eq!(job.model.parameters(job.data.input_width(), job.data.output_width()), Some(15));
}

#[test]
fn a_network_that_does_not_fit_its_pictures_is_refused() {
    let says = |from: &str, to: &str, wanted: &str| {
        let error = refused(DIGITS, from, to);
        assert!(error.contains(wanted), "{error}");
    };
    says(
        "count = 784",
        "count = 783",
        "model.image: 28 x 28 points of 1 channel(s) are 784 values",
    );
    says("width = 28 }", "width = 28, channels = 3 }", "are 2352 values, the features are 784");
    says("kernel = 5", "kernel = 29", "model.kernel: a kernel of 29 x 29 does not fit");
    says("kernel = 5", "kernel = 13", "points that block 2 reads");
    says("pool = 2", "pool = 16", "does not fit into the 1 x 1 points");
    says("pool = 2", "pool = 20", "model.pool: 20: must be between 1 and 16");
    says("pool = 2", "pool = 2\nstride = 2", "unknown field `stride`");
    says("[8, 16]", "[]", "model.channels: 0 blocks: between 1 and 6");
    says("[8, 16]", "[8, 5000]", "model.channels: 5000: must be between 1 and 4096");
    says("kernel = 5", "kernel = 5\nmicrobatch = 1000", "model.microbatch: 1000");
    let category = "features = [{ kind = \"category\", column = \"c\", values = [\"x\"] }, {";
    says("features = [{", category, "c is a category; a picture's points are numbers");
}

#[test]
fn times_to_an_event_need_durations_and_rising_intervals() {
    let says = |from: &str, to: &str, wanted: &str| {
        let error = refused(SURVIVAL, from, to);
        assert!(error.contains(wanted), "{error}");
    };
    says("[2, 4, 8,", "[2, 8, 4,", "model.intervals: end 3 is 4 after 8");
    says("[2, 4, 8,", "[-2, 4, 8,", "model.intervals: end 1 is -2: must be above 0");
    says("duration = \"weeks\"", "", "data.label.duration: is missing: family \"cox\" needs");
    says("\"weeks\"", "\"age\"", "age is the duration, a part of the label");
    says("family = \"cox\"", "family = \"cox\"\nhidden = [3]", "unknown field `hidden`");
    let evaluation = "[evaluation]\nholdout = 0.2\n\n[training]";
    says("[training]", evaluation, "evaluation: counts right and wrong answers");
    let other = SURVIVAL
        .replace("intervals = [2, 4, 8, 12, 16, 20, 26, 39, 52]", "hidden = []")
        .replace("family = \"cox\"", "family = \"mlp\"");
    let error = JobSpec::from_toml(&other).unwrap_err().to_string();
    assert!(error.contains("data.label.duration: family \"mlp\" learns no times"), "{error}");
}
