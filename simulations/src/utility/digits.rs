//! Handwritten digits by writer: the MNIST test set with the writers of QMNIST (Yadav and Bottou
//! 2019, "Cold Case: The Lost MNIST Digits").
//!
//! From the two gzipped idx files and the table of labels to tables of ten agencies, each with its
//! own writers; knows no job.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{Split, tables::Tables, tables::refuse};
use crate::error::{SimulationError, read_text};

/// Agencies that the writers are shared out to.
pub const AGENCIES: usize = 10;

/// Pixels of a picture's side.
const SIDE: usize = 28;
/// Pixels of a side that are summed into one input.
pub const POOL: usize = 2;
/// Inputs of a picture's side.
const POOLED: usize = SIDE / POOL;
/// Inputs of a picture.
pub const INPUTS: usize = POOLED * POOLED;
/// Largest input: a sum of bytes.
pub const MAX_INPUT: usize = 255 * POOL * POOL;

/// The column with the writer.
pub const WRITER: &str = "writer";

/// Every fifth digit of a writer measures.
const TEST_ONE_IN: usize = 5;

const IMAGES: &str = "t10k-images-idx3-ubyte.gz";
const LABELS: &str = "t10k-labels-idx1-ubyte.gz";
const WRITERS: &str = "qmnist_labels_first10000.tsv";

/// Most bytes that a file may unpack to.
const MOST_BYTES: u64 = 64 << 20;

/// Reads the raw files of `dir` and shares the writers out, in the order of their numbers, so that
/// the agencies are of about equal size.
///
/// # Errors
/// A file that is missing, damaged, or does not fit the others.
pub fn read(dir: &Path, split: Split) -> Result<Tables, SimulationError> {
    let pictures = idx(&dir.join(IMAGES), 3)?;
    let labels = idx(&dir.join(LABELS), 1)?;
    let path = dir.join(WRITERS);
    let writers = writers(&read_text(&path)?, &path)?;
    let count = labels.len();
    if pictures.len() != count * SIDE * SIDE || writers.len() != count {
        let text = format!(
            "{}: {} labels, {} writers and {} bytes of pictures do not fit together",
            dir.display(),
            count,
            writers.len(),
            pictures.len()
        );
        return Err(SimulationError::Data(text));
    }
    let mut header = format!("{WRITER},digit");
    (0..INPUTS).for_each(|i| {
        let _ = write!(header, ",p{i}");
    });
    let mut tables = Tables::new((0..AGENCIES).map(|i| format!("w{i}")), &header);
    let silo_of = share_out(&writers);
    // Digits of a writer so far, and how many of them train.
    let mut seen: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    let rows = pictures.chunks_exact(SIDE * SIDE).zip(&labels).zip(&writers);
    for (number, ((picture, label), (digit, writer))) in rows.enumerate() {
        if label != digit {
            return Err(refuse(&path, number, "has another digit than the label file"));
        }
        let (digits, trained) = seen.entry(*writer).or_default();
        let held_out = *digits % TEST_ONE_IN == TEST_ONE_IN - 1;
        let place = split.place(held_out, *trained);
        *digits += 1;
        *trained += usize::from(!held_out);
        let mut row = format!("{writer},{label}");
        pool(picture).iter().for_each(|v| {
            let _ = write!(row, ",{v}");
        });
        tables.push(silo_of.get(writer).copied().unwrap_or(AGENCIES), place, &row);
    }
    Ok(tables)
}

/// Distinct writers of the table of labels.
#[cfg(test)]
pub fn count_writers(text: &str) -> usize {
    let writers = writers(text, Path::new("labels")).unwrap_or_default();
    share_out(&writers).len()
}

/// Sums of squares of pixels, row by row.
fn pool(picture: &[u8]) -> Vec<u32> {
    let mut out = vec![0; INPUTS];
    for (i, pixel) in picture.iter().enumerate() {
        let at = (i / SIDE / POOL) * POOLED + (i % SIDE) / POOL;
        if let Some(sum) = out.get_mut(at) {
            *sum += u32::from(*pixel);
        }
    }
    out
}

/// The agency of each writer: neighbours stay together, sizes are about equal.
fn share_out(writers: &[(u8, u32)]) -> BTreeMap<u32, usize> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, writer) in writers {
        *counts.entry(*writer).or_default() += 1;
    }
    let mut before = 0;
    let shared = counts.into_iter().map(|(writer, count)| {
        let middle = 2 * before + count;
        before += count;
        (writer, (middle * AGENCIES / (2 * writers.len())).min(AGENCIES - 1))
    });
    shared.collect()
}

/// Digit and writer of each line: columns 0 and 2.
fn writers(text: &str, path: &Path) -> Result<Vec<(u8, u32)>, SimulationError> {
    let line = |(number, line): (usize, &str)| {
        let mut cells = line.split_ascii_whitespace();
        let digit = cells.next().and_then(|c| c.parse().ok()).filter(|d| *d < 10);
        let writer = cells.nth(1).and_then(|c| c.parse().ok());
        digit.zip(writer).ok_or_else(|| refuse(path, number, "has no digit or no writer"))
    };
    text.lines().enumerate().map(line).collect()
}

/// The bytes of a gzipped idx file of unsigned bytes with so many dimensions.
fn idx(path: &Path, dimensions: u8) -> Result<Vec<u8>, SimulationError> {
    let file = std::fs::File::open(path).map_err(SimulationError::io(path))?;
    let mut bytes = Vec::new();
    GzDecoder::new(file)
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(SimulationError::io(path))?;
    let header = 4 + 4 * usize::from(dimensions);
    let fits = bytes.get(..header).is_some_and(|head| {
        let sizes = head.chunks_exact(4).skip(1);
        let total: Option<u64> = sizes
            .map(|s| s.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
            .try_fold(1u64, u64::checked_mul);
        head.starts_with(&[0, 0, 8, dimensions]) && total == Some((bytes.len() - header) as u64)
    });
    if !fits {
        let text = format!("{}: no idx file of bytes in {dimensions} dimensions", path.display());
        return Err(SimulationError::Data(text));
    }
    Ok(bytes.split_off(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_summed_in_squares() {
        let mut picture = vec![0u8; SIDE * SIDE];
        picture[0] = 255;
        picture[SIDE + 1] = 10;
        picture[SIDE * SIDE - 1] = 7;
        let inputs = pool(&picture);
        assert_eq!((inputs[0], inputs[1], inputs[INPUTS - 1]), (265, 0, 7));
        assert_eq!(inputs.iter().sum::<u32>(), 272);
    }

    #[test]
    fn writers_stay_whole_and_agencies_are_of_about_equal_size() {
        let writers: Vec<(u8, u32)> = (0..1000).map(|i| (0, i / 20)).collect();
        let shared = share_out(&writers);
        let sizes = |silo| shared.values().filter(|s| **s == silo).count();
        assert!((0..AGENCIES).all(|silo| sizes(silo) == 5), "{shared:?}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gz");
        std::fs::write(&path, b"not gzip").unwrap();
        assert!(idx(&path, 1).is_err());
        let path = dir.path().join("y.tsv");
        let error = writers("5\t0\t7\n11\t0\t7\n", &path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
