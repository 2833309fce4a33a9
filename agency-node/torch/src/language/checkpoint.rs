//! Checkpoints in safetensors: a base model's tensors by their names.
//!
//! Every tensor that the network needs must be there with its shape in f32 and finite; what else the
//! file holds (a pooler, position numbers) is left alone. Knows no network.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use tch::Tensor;

use crate::private::{Parameters, PrivateError};

/// Prefixes under which checkpoints keep an encoder inside a larger model.
const PREFIXES: [&str; 2] = ["", "bert."];

/// Sets all of the parameters from the file's tensors of the same names.
///
/// # Errors
/// A file that cannot be read or is no safetensors; a tensor that is missing, of another shape or
/// type, or not finite: the message names it.
pub(crate) fn load(path: &Path, parameters: &mut Parameters) -> Result<(), PrivateError> {
    let refuse = |problem: String| {
        PrivateError::Network(format!("checkpoint {}: {problem}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|e| refuse(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| refuse(format!("not a safetensors file: {e}")))?;
    let wanted: Vec<_> =
        parameters.all().map(|(id, name, value)| (id, name.to_owned(), value.size())).collect();
    for (id, name, size) in wanted {
        let view = PREFIXES.iter().find_map(|prefix| file.tensor(&format!("{prefix}{name}")).ok());
        let view = view.ok_or_else(|| refuse(format!("has no tensor {name}")))?;
        let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
        if shape != size || view.dtype() != Dtype::F32 {
            let (dtype, wanted) = (view.dtype(), &size);
            let text =
                format!("{name} is {dtype} of shape {shape:?}, the job needs F32 of {wanted:?}");
            return Err(refuse(text));
        }
        let floats = view.data().chunks_exact(4);
        let values: Vec<f32> =
            floats.map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(refuse(format!("{name} has values that are not finite")));
        }
        parameters.set(id, &Tensor::f_from_slice(&values)?.f_view(&size[..])?)?;
    }
    Ok(())
}
