//! The parameters in a released model file, as far as two models are to be compared: the safetensors
//! format has a length, a JSON header and little-endian numbers.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// All 32-bit numbers of the file's tensors, in the order of the header's names.
pub fn parameters(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} is no model", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Vec<f32>> {
    let (length, rest) = bytes.split_first_chunk::<8>().context("it is too short")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let header = rest.get(..length).context("its header is cut off")?;
    let data = rest.get(length..).unwrap_or_default();
    let header: serde_json::Map<String, Value> = serde_json::from_slice(header)?;
    let mut out = Vec::new();
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        if tensor["dtype"] != "F32" {
            continue;
        }
        let offset = |i: usize| tensor["data_offsets"][i].as_u64();
        let (from, to) = offset(0).zip(offset(1)).context("a tensor has no place")?;
        let range = usize::try_from(from)?..usize::try_from(to)?;
        let part = data.get(range).with_context(|| format!("{name} is cut off"))?;
        let (numbers, left) = part.as_chunks::<4>();
        ensure!(left.is_empty(), "{name} ends within a number");
        out.extend(numbers.iter().map(|n| f32::from_le_bytes(*n)));
    }
    ensure!(!out.is_empty(), "it has no parameters");
    Ok(out)
}

/// Largest difference between two models; infinite if one has a number that is none.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() || a.iter().chain(b).any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_they_went_in() {
        let header =
            r#"{"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend([1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
        assert_eq!(parse(&file).unwrap(), [1.5, -2.0]);
        assert!(parse(&file[..file.len() - 1]).is_err());
        assert!(parse(&file[..5]).is_err());
    }

    #[test]
    fn a_model_that_is_not_finite_is_far_from_every_other() {
        assert_eq!(distance(&[1.0, 2.0], &[1.5, 2.0]), 0.5);
        assert_eq!(distance(&[1.0], &[f32::NAN]), f64::INFINITY);
        assert_eq!(distance(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }
}
