//! The `config.json` with which Hugging Face's transformers load a released model.
//!
//! A decoder is a Llama (root-mean-square normalisation) or a StableLM (layer normalisation): the
//! tensors have their names and shapes, and this file their sizes. Knows no tensors.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tributary_job::spec::{DataSpec, ModelSpec, NormKind, TokenizerSpec};

use crate::export::{ExportError, write_atomically};

/// Name of the file, in the same folder as `model.safetensors`.
pub const FILE: &str = "config.json";

/// The configuration, for families that transformers know; `None` for others.
pub fn config(model: &ModelSpec, data: &DataSpec) -> Option<Value> {
    let text = data.text.as_ref()?;
    let ModelSpec::Decoder { layers, width, heads, hidden, norm, rotary_base, .. } = model else {
        return None;
    };
    // A line feed begins and ends a text.
    let separator = match &text.tokenizer {
        TokenizerSpec::Bytes => Some(10),
        TokenizerSpec::Characters { characters } => characters.chars().position(|c| c == '\n'),
        TokenizerSpec::File { .. } => None,
    };
    let mut config = json!({
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": width / heads,
        "hidden_act": "silu",
        "max_position_embeddings": text.context,
        "vocab_size": text.tokenizer.vocabulary(),
        "rope_theta": rotary_base,
        "tie_word_embeddings": true,
        "torch_dtype": "float32",
        "use_cache": true,
        "bos_token_id": separator,
        "eos_token_id": separator,
    });
    let own = match norm {
        NormKind::Rms => json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "rms_norm_eps": NormKind::EPSILON,
            "attention_bias": false,
            "mlp_bias": false,
        }),
        NormKind::Layer => json!({
            "architectures": ["StableLmForCausalLM"],
            "model_type": "stablelm",
            "layer_norm_eps": NormKind::EPSILON,
            "partial_rotary_factor": 1.0,
            "use_qkv_bias": false,
            "qk_layernorm": false,
            "use_parallel_residual": false,
        }),
    };
    if let (Some(all), Value::Object(own)) = (config.as_object_mut(), own) {
        all.extend(own);
    }
    Some(config)
}

/// Writes [`FILE`] beside a model file, for families that transformers know. Returns its path.
///
/// # Errors
/// [`ExportError::Io`].
pub fn write_config(
    beside: &Path,
    model: &ModelSpec,
    data: &DataSpec,
) -> Result<Option<PathBuf>, ExportError> {
    let Some(config) = config(model, data) else { return Ok(None) };
    let path = beside.with_file_name(FILE);
    let mut text = format!("{config:#}");
    text.push('\n');
    write_atomically(&path, text.as_bytes())
        .map_err(|source| ExportError::Io { path: path.clone(), source })?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_job::spec::{LabelSpec, TextSpec};

    #[test]
    fn a_decoder_has_a_configuration_and_columns_have_none() {
        let model = |norm| ModelSpec::Decoder {
            layers: 2,
            width: 8,
            heads: 2,
            hidden: 12,
            norm,
            rotary_base: 1e4,
            microbatch: 4,
        };
        let text = TextSpec {
            column: "t".into(),
            context: 16,
            tokenizer: TokenizerSpec::Characters { characters: "ab\n".into() },
        };
        let columns = DataSpec::new(LabelSpec::next_token(), Vec::new());
        let data = DataSpec { text: Some(text), ..columns.clone() };
        let llama = config(&model(NormKind::Rms), &data).unwrap();
        assert_eq!(llama["model_type"], "llama");
        assert_eq!((&llama["vocab_size"], &llama["bos_token_id"]), (&json!(4), &json!(2)));
        assert_eq!(config(&model(NormKind::Layer), &data).unwrap()["model_type"], "stablelm");
        let mlp = ModelSpec::Mlp { hidden: vec![] };
        assert_eq!(config(&mlp, &columns), None);
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("model.safetensors");
        assert_eq!(write_config(&beside, &mlp, &columns).unwrap(), None);
        let path = write_config(&beside, &model(NormKind::Rms), &data).unwrap().unwrap();
        let read: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(read, llama);
    }
}
