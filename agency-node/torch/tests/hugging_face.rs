//! What we release loads in Hugging Face's transformers and says the same there.
//!
//! Needs a Python with torch and transformers: `cargo xtask check-hf` sets one up and runs this. Else
//! the test says so and passes, unless `TRIBUTARY_REQUIRE_HF=1` is set.

#![allow(clippy::unwrap_used, reason = "a failing unwrap in a test is a failing test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tributary_job::spec::{
    DataSpec, LabelSpec, LoraSpec, LoraTarget, ModelSpec, NormKind, TextSpec, TokenizerSpec,
};
use tributary_job::{Normalisation, ParameterLayout};
use tributary_torch::{ClassifierTrainer, LanguageTrainer};
use tributary_training::assets::file_sha256;
use tributary_training::export::write_model;
use tributary_training::hugging_face::write_config;
use tributary_training::{Assets, Dataset, ModelDescription, Rows};

const SCRIPT: &str = "hugging_face.py";

/// A Python that has the library; `None` if there is none and none is required.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TRIBUTARY_HF_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import torch, transformers"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let required = std::env::var_os("TRIBUTARY_REQUIRE_HF").is_some_and(|is| is == "1");
    assert!(!required, "TRIBUTARY_REQUIRE_HF is set, but {} has no transformers", python.display());
    println!("skipped: no Python with transformers; `cargo xtask check-hf` sets one up");
    None
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(SCRIPT)
}

fn data(context: u32) -> DataSpec {
    let text = TextSpec { column: "t".into(), context, tokenizer: TokenizerSpec::Bytes };
    DataSpec { text: Some(text), ..DataSpec::new(LabelSpec::next_token(), Vec::new()) }
}

#[test]
fn a_released_decoder_says_the_same_in_transformers() {
    let Some(python) = python() else { return };
    for norm in [NormKind::Rms, NormKind::Layer] {
        let model = ModelSpec::Decoder {
            layers: 3,
            width: 48,
            heads: 4,
            hidden: 100,
            norm,
            rotary_base: 5e3,
            microbatch: 2,
        };
        let data = data(33);
        let (inputs, outputs) = (data.input_width(), data.output_width());
        let layout = ParameterLayout::of(&model, inputs, outputs);
        // Away from the initial values, norms included.
        let moved = |(i, v): (usize, &f32)| v * 1.5 + 0.05 * (i as f32).sin();
        let parameters: Vec<f32> =
            layout.initial_parameters(3).iter().enumerate().map(moved).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let description = ModelDescription {
            job: None,
            data: data.clone(),
            model: model.clone(),
            normalisation: Normalisation::identity(0),
        };
        write_model(&path, &layout, &parameters, &description.to_metadata().unwrap()).unwrap();
        write_config(&path, &model, &data).unwrap().unwrap();
        let token = |i: usize| ((i * i * 31 + 7 * i) % 256) as f32;
        let windows: Vec<f32> = (0..3 * inputs).map(token).collect();
        let mut trainer = LanguageTrainer::new(&model, inputs, outputs).unwrap();
        let rows = Rows::new(&windows, inputs).unwrap();
        let logits = trainer.logits(&parameters, rows).unwrap();
        let tokens: Vec<Vec<u32>> = windows
            .chunks(inputs)
            .map(|row| row[..inputs - 1].iter().map(|v| *v as u32).collect())
            .collect();
        let case = json!({ "tokens": tokens, "logits": logits });
        std::fs::write(folder.path().join("case.json"), case.to_string()).unwrap();
        let output =
            Command::new(&python).arg(script()).arg("decoder").arg(folder.path()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{norm:?}: {errors}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let difference = told["largest_difference"].as_f64().unwrap();
        assert!(difference < 1e-4, "{norm:?}: {told}");
        let parameters = told["parameters"].as_u64().unwrap();
        assert_eq!(parameters, layout.total() as u64, "no tensor was left to chance");
    }
}

const SENTENCES: [&str; 4] = [
    "The agency uses the model to sort letters by topic.",
    "Facial recognition at the border; decisions are reviewed by an officer!",
    "A chatbot answers questions about retirement benefits (Spanish: jubilaci\u{f3}n).",
    "x",
];

/// A real checkpoint with its tokenizer: the same embeddings as its own loader's.
#[test]
fn a_sentence_encoder_from_its_package_gives_the_same_embeddings() {
    let Some(python) = python() else { return };
    let Some(folder) = std::env::var_os("TRIBUTARY_MINILM").map(PathBuf::from) else {
        let required = std::env::var_os("TRIBUTARY_REQUIRE_HF").is_some_and(|is| is == "1");
        assert!(!required, "TRIBUTARY_REQUIRE_HF is set, but TRIBUTARY_MINILM is not");
        println!("skipped: TRIBUTARY_MINILM names no folder with all-MiniLM-L6-v2");
        return;
    };
    let hash = |name: &str| file_sha256(&folder.join(name)).unwrap();
    let text = TextSpec {
        column: "text".into(),
        context: 64,
        tokenizer: TokenizerSpec::File { sha256: hash("tokenizer.json"), vocabulary: 30_522 },
    };
    let label = LabelSpec::binary("y", "1", "0");
    let spec = DataSpec { text: Some(text), ..DataSpec::new(label, Vec::new()) };
    let mut table = String::from("y,text\n");
    SENTENCES.iter().for_each(|s| table += &format!("1,\"{s}\"\n"));
    let assets = Assets::new(&folder);
    let (data, _) = Dataset::read_tolerant_with(table.as_bytes(), &spec, &assets).unwrap();
    let model = ModelSpec::Encoder {
        base: hash("model.safetensors"),
        layers: 6,
        width: 384,
        heads: 12,
        hidden: 1536,
        vocabulary: 30_522,
        positions: 512,
        lora: LoraSpec { rank: 4, alpha: 8.0, targets: vec![LoraTarget::Query, LoraTarget::Value] },
        microbatch: 3,
    };
    let mut trainer = ClassifierTrainer::new(&model, 64, 1, &assets).unwrap();
    let parameters = ParameterLayout::of(&model, 64, 1).initial_parameters(1);
    let mut windows = Vec::new();
    data.features(&[0, 1, 2, 3], &Normalisation::identity(0), &mut windows);
    let mut means = trainer.means(&parameters, Rows::new(&windows, 64).unwrap()).unwrap();
    for mean in means.chunks_mut(384) {
        let norm = mean.iter().map(|v| v * v).sum::<f32>().sqrt();
        mean.iter_mut().for_each(|v| *v /= norm);
    }
    let case = tempfile::tempdir().unwrap();
    let told = json!({ "model": folder, "sentences": SENTENCES, "embeddings": means });
    std::fs::write(case.path().join("case.json"), told.to_string()).unwrap();
    let output =
        Command::new(&python).arg(script()).arg("encoder").arg(case.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["largest_difference"].as_f64().unwrap() < 1e-4, "{told}");
}
