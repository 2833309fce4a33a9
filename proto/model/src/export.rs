//! The released model file: safetensors with PyTorch names and string metadata.
//!
//! One model gives one byte string (keys sorted), so its hash means something. Knows the layout and
//! files; not what the metadata says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::Value;
use tributary_job::spec::ModelSpec;
use tributary_job::{ParameterLayout, canonical_json};

use crate::description::{DescriptionError, ModelDescription};

/// Why a model file cannot be written or is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("model file: not safetensors: {0}")]
    Format(#[from] SafeTensorError),
    /// A tensor is missing, unexpected, or of another type or shape.
    #[error("model file: tensor {name}: {problem}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The flat vector has another length than the layout.
    #[error("model file: {found} parameters given, the layout has {expected}")]
    Length {
        /// Parameters of the layout.
        expected: usize,
        /// Parameters given.
        found: usize,
    },
    /// The metadata does not describe a model.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The header cannot be put into canonical form.
    #[error("model file: header: {0}")]
    Header(String),
}

/// Parameters with the metadata of their file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// Flat parameters in the order of the layout.
    pub parameters: Vec<f32>,
    /// String metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Bytes of a model file; the same model gives the same bytes.
///
/// # Errors
/// [`ExportError::Length`] if the vector does not fit the layout.
pub fn encode_model(
    layout: &ParameterLayout,
    parameters: &[f32],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ExportError> {
    if parameters.len() != layout.total() {
        let found = parameters.len();
        return Err(ExportError::Length { expected: layout.total(), found });
    }
    let bytes: Vec<u8> = parameters.iter().flat_map(|v| v.to_le_bytes()).collect();
    let views = layout.tensors().iter().map(|t| {
        let data = &bytes[t.offset * 4..(t.offset + t.len()) * 4];
        TensorView::new(Dtype::F32, t.shape.clone(), data).map(|view| (t.name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    let metadata = metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    sorted_header(&serialize(views, Some(metadata))?)
}

/// Reads bytes of a model file: every tensor of the layout with its shape, and no other.
///
/// # Errors
/// [`ExportError::Format`] or [`ExportError::Tensor`].
pub fn decode_model(bytes: &[u8], layout: &ParameterLayout) -> Result<ModelFile, ExportError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let file = SafeTensors::deserialize(bytes)?;
    let refuse =
        |name: &str, problem: String| Err(ExportError::Tensor { name: name.to_owned(), problem });
    for name in file.names() {
        if !layout.tensors().iter().any(|t| t.name == *name) {
            return refuse(name, "not a tensor of this model".into());
        }
    }
    let mut parameters = Vec::with_capacity(layout.total());
    for tensor in layout.tensors() {
        let Ok(view) = file.tensor(&tensor.name) else {
            return refuse(&tensor.name, "missing".into());
        };
        if view.dtype() != Dtype::F32 || view.shape() != tensor.shape {
            let (dtype, shape) = (view.dtype(), view.shape());
            let problem = format!("{dtype} of shape {shape:?}, expected F32 of {:?}", tensor.shape);
            return refuse(&tensor.name, problem);
        }
        let floats = view.data().chunks_exact(4);
        parameters.extend(floats.map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])));
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(ModelFile { parameters, metadata })
}

/// Writes a model file so that a crash leaves either the old file or the new one, never a part.
///
/// # Errors
/// [`ExportError::Length`] or [`ExportError::Io`].
pub fn write_model(
    path: &Path,
    layout: &ParameterLayout,
    parameters: &[f32],
    metadata: &BTreeMap<String, String>,
) -> Result<(), ExportError> {
    let bytes = encode_model(layout, parameters, metadata)?;
    write_atomically(path, &bytes)
        .map_err(|source| ExportError::Io { path: path.to_owned(), source })
}

/// Reads a model file of a known layout.
///
/// # Errors
/// As [`decode_model`], or [`ExportError::Io`].
pub fn read_model(path: &Path, layout: &ParameterLayout) -> Result<ModelFile, ExportError> {
    decode_model(&read_file(path)?, layout)
}

/// Reads a model file by its own description: what it says about itself, and the parameters.
///
/// # Errors
/// As [`decode_model`], [`ExportError::Io`], or [`ExportError::Description`].
pub fn read_described(path: &Path) -> Result<(ModelDescription, Vec<f32>), ExportError> {
    let bytes = read_file(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let description = ModelDescription::from_metadata(&metadata)?;
    let (inputs, outputs) = (description.data.input_width(), description.data.output_width());
    // A description may claim any size; the layout is built only if the file could hold it.
    match claimed_dimension(&description.model, inputs, outputs) {
        Some(d) if d <= bytes.len() / 4 => {
            let layout = ParameterLayout::of(&description.model, inputs, outputs);
            let parameters = decode_model(&bytes, &layout)?.parameters;
            Ok((description, parameters))
        }
        claimed => Err(ExportError::Length {
            expected: claimed.unwrap_or(usize::MAX),
            found: bytes.len() / 4,
        }),
    }
}

/// Replaces a file atomically: temporary file beside it, fsync, rename, fsync of the folder.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().ok_or_else(|| std::io::Error::other("not a file name"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = folder.join(format!(".{}.{}.tmp", name.display(), std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; a leftover is only untidy.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|source| ExportError::Io { path: path.to_owned(), source })
}

fn claimed_dimension(model: &ModelSpec, inputs: usize, outputs: usize) -> Option<usize> {
    model.parameters(inputs, outputs).and_then(|total| usize::try_from(total).ok())
}

/// The library writes metadata in hash order: put the header's keys into canonical order.
fn sorted_header(bytes: &[u8]) -> Result<Vec<u8>, ExportError> {
    let (length, _) = SafeTensors::read_metadata(bytes)?;
    let (header, data) = bytes[8..].split_at(length);
    let header: Value =
        serde_json::from_slice(header).map_err(|e| ExportError::Header(e.to_string()))?;
    let mut header = canonical_json(&header).map_err(|e| ExportError::Header(e.to_string()))?;
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(data);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::tests::example;
    use proptest::prelude::*;

    fn layout() -> ParameterLayout {
        let ModelDescription { model, data, .. } = example();
        ParameterLayout::of(&model, data.input_width(), data.output_width())
    }

    #[test]
    fn a_file_comes_back_whole_and_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let (layout, metadata) = (layout(), example().to_metadata().unwrap());
        for seed in [1, 2] {
            let parameters = layout.initial_parameters(seed);
            write_model(&path, &layout, &parameters, &metadata).unwrap();
            let file = read_model(&path, &layout).unwrap();
            assert_eq!(
                file,
                ModelFile { parameters: parameters.clone(), metadata: metadata.clone() }
            );
            assert_eq!(read_described(&path).unwrap(), (example(), parameters));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        let missing = dir.path().join("no-folder").join("model.safetensors");
        let error = write_model(&missing, &layout, &layout.initial_parameters(1), &metadata);
        assert!(matches!(error, Err(ExportError::Io { .. })));
    }

    #[test]
    fn one_model_gives_one_byte_string() {
        let (layout, metadata) = (layout(), example().to_metadata().unwrap());
        let parameters = layout.initial_parameters(1);
        let first = encode_model(&layout, &parameters, &metadata).unwrap();
        for _ in 0..20 {
            assert_eq!(encode_model(&layout, &parameters, &metadata).unwrap(), first);
        }
    }

    #[test]
    fn wrong_shapes_and_foreign_files_are_refused() {
        let layout = layout();
        let parameters = layout.initial_parameters(1);
        let short = encode_model(&layout, &parameters[1..], &BTreeMap::new());
        assert!(matches!(short, Err(ExportError::Length { .. })));
        let bytes = encode_model(&layout, &parameters, &BTreeMap::new()).unwrap();
        for (hidden, inputs) in [(vec![2], 4), (vec![2, 2], 3), (vec![], 3), (vec![3], 3)] {
            let other = ParameterLayout::of(&ModelSpec::Mlp { hidden }, inputs, 1);
            let error = decode_model(&bytes, &other).unwrap_err();
            assert!(matches!(error, ExportError::Tensor { .. }), "{error}");
        }
        assert!(matches!(decode_model(&bytes[..20], &layout), Err(ExportError::Format(_))));
        assert!(matches!(decode_model(b"", &layout), Err(ExportError::Format(_))));
    }

    #[test]
    fn a_description_that_claims_a_giant_model_is_refused_before_any_allocation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("giant.safetensors");
        let mut giant = example();
        giant.model = ModelSpec::Mlp { hidden: vec![u32::MAX; 8] };
        let layout = layout();
        let metadata = giant.to_metadata().unwrap();
        write_model(&path, &layout, &layout.initial_parameters(1), &metadata).unwrap();
        assert!(matches!(read_described(&path), Err(ExportError::Length { .. })));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0usize..400, to in any::<u8>()) {
            let layout = layout();
            let metadata = example().to_metadata().unwrap();
            let mut bytes =
                encode_model(&layout, &layout.initial_parameters(1), &metadata).unwrap();
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = decode_model(&bytes, &layout);
        }
    }
}
