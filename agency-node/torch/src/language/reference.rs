//! A decoder again, in plain loops over f64, from the definitions: an oracle for the real one.
//!
//! Reads tensors by the names that Hugging Face's Llama and StableLM give them and shares no code with
//! the network.

use tributary_job::ParameterLayout;

/// A decoder's sizes.
pub(super) struct Reference<'a> {
    pub(super) layout: &'a ParameterLayout,
    pub(super) parameters: &'a [f32],
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) base: f64,
}

impl Reference<'_> {
    fn tensor(&self, name: &str) -> Option<Vec<f64>> {
        let tensor = self.layout.tensors().iter().find(|tensor| tensor.name == name)?;
        let values = &self.parameters[tensor.offset..tensor.offset + tensor.len()];
        Some(values.iter().map(|v| f64::from(*v)).collect())
    }

    /// `W x` with W `[out, in]`.
    fn map(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.tensor(&format!("{name}.weight")).unwrap();
        weight.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let scale = self.tensor(&format!("{name}.weight")).unwrap();
        let shift = self.tensor(&format!("{name}.bias"));
        // Root mean square unless there is a shift.
        let mean = if shift.is_some() { x.iter().sum::<f64>() / n } else { 0.0 };
        let square = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let root = (square + 1e-5).sqrt();
        let shift = shift.unwrap_or_else(|| vec![0.0; x.len()]);
        let one = |((x, scale), shift): ((&f64, f64), f64)| (x - mean) / root * scale + shift;
        x.iter().zip(scale).zip(shift).map(one).collect()
    }

    /// Coordinates i and i + half of a head, turned by `position * base^(-2 i / size)`.
    fn turned(&self, x: &[f64], position: usize) -> Vec<f64> {
        let half = x.len() / 2;
        let mut out = x.to_vec();
        for i in 0..half {
            let angle = position as f64 * self.base.powf(-2.0 * i as f64 / x.len() as f64);
            out[i] = x[i] * angle.cos() - x[i + half] * angle.sin();
            out[i + half] = x[i + half] * angle.cos() + x[i] * angle.sin();
        }
        out
    }

    fn attention(&self, name: &str, normed: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let size = self.width / self.heads;
        let project = |part: &str| -> Vec<Vec<f64>> {
            normed.iter().map(|x| self.map(&format!("{name}.{part}"), x)).collect()
        };
        let (q, k, v) = (project("q_proj"), project("k_proj"), project("v_proj"));
        let mut out = Vec::new();
        for (t, asked) in q.iter().enumerate() {
            let mut joined = Vec::new();
            for head in 0..self.heads {
                let part = |x: &[f64]| x[head * size..(head + 1) * size].to_vec();
                let query = self.turned(&part(asked), t);
                let score = |s: usize| {
                    let key = self.turned(&part(&k[s]), s);
                    let dot: f64 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
                    (dot / (size as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = (0..=t).map(score).collect();
                let total: f64 = scores.iter().sum();
                for i in 0..size {
                    let seen = scores.iter().enumerate();
                    joined.push(seen.map(|(s, w)| w / total * v[s][head * size + i]).sum());
                }
            }
            out.push(self.map(&format!("{name}.o_proj"), &joined));
        }
        out
    }

    /// Logits of every position.
    pub(super) fn logits(&self, tokens: &[usize]) -> Vec<Vec<f64>> {
        let table = self.tensor("model.embed_tokens.weight").unwrap();
        let row = |token: &usize| table[token * self.width..(token + 1) * self.width].to_vec();
        let mut stream: Vec<Vec<f64>> = tokens.iter().map(row).collect();
        let add = |x: &mut Vec<f64>, y: &[f64]| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        for layer in 0..self.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let normed: Vec<_> =
                stream.iter().map(|x| self.norm(&name("input_layernorm"), x)).collect();
            let attended = self.attention(&name("self_attn"), &normed);
            stream.iter_mut().zip(&attended).for_each(|(x, y)| add(x, y));
            for x in &mut stream {
                let normed = self.norm(&name("post_attention_layernorm"), x);
                let gate = self.map(&name("mlp.gate_proj"), &normed);
                let up = self.map(&name("mlp.up_proj"), &normed);
                let silu = |v: f64| v / (1.0 + (-v).exp());
                let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| silu(*g) * u).collect();
                add(x, &self.map(&name("mlp.down_proj"), &inner));
            }
        }
        let last = |x: &Vec<f64>| self.map("model.embed_tokens", &self.norm("model.norm", x));
        stream.iter().map(last).collect()
    }
}
