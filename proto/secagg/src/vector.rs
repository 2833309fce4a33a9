//! Vectors in chunks: their hashes, their roots, and putting them together again
//! from a stream that may come from anybody. It knows no mask and no phase.

use crate::CHUNK_LANES;
use crate::digest::{Digest, Hasher, hash};

/// What a vector is; it separates the hashes of masked vectors and of sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorKind {
    /// A node's masked vector.
    Masked,
    /// The unmasked sum.
    Sum,
}

/// Root of a whole vector under a context: the hash over its length and the
/// hashes of its chunks of [`CHUNK_LANES`] lanes.
#[must_use]
pub fn vector_root(kind: VectorKind, ctx: &Digest, lanes: &[u32]) -> Digest {
    let hashes: Vec<Digest> = lanes
        .chunks(CHUNK_LANES)
        .enumerate()
        .map(|(index, chunk)| chunk_hash(kind, ctx, index, chunk))
        .collect();
    root(kind, ctx, lanes.len(), &hashes)
}

/// Takes the chunks of one vector in order and holds no more than was sent.
#[derive(Debug)]
pub(crate) struct Assembler {
    kind: VectorKind,
    ctx: Digest,
    length: usize,
    lanes: Vec<u32>,
    hashes: Vec<Digest>,
}

impl Assembler {
    pub(crate) fn new(kind: VectorKind, ctx: Digest, length: usize) -> Self {
        Self { kind, ctx, length, lanes: Vec::new(), hashes: Vec::new() }
    }

    /// Takes a chunk. A chunk that was taken before and is the same is ignored.
    ///
    /// # Errors
    /// What is wrong with it, to be said of its sender.
    pub(crate) fn accept(&mut self, index: u32, chunk: &[u32]) -> Result<(), String> {
        let position = index as usize;
        let found = chunk_hash(self.kind, &self.ctx, position, chunk);
        if let Some(known) = self.hashes.get(position) {
            if *known == found {
                return Ok(());
            }
            return Err(format!("sent two different chunks number {index}"));
        }
        if position != self.hashes.len() {
            return Err(format!("sent chunk {index} where {} was due", self.hashes.len()));
        }
        let due = (self.length - self.lanes.len()).min(CHUNK_LANES);
        if due == 0 {
            return Err(format!("sent more than the {} lanes of the vector", self.length));
        }
        if chunk.len() != due {
            return Err(format!("sent {} lanes in chunk {index}, {due} were due", chunk.len()));
        }
        self.lanes.extend_from_slice(chunk);
        self.hashes.push(found);
        Ok(())
    }

    /// The vector and its root once every lane is there.
    ///
    /// # Errors
    /// How many lanes are there, if they are too few.
    pub(crate) fn finish(self) -> Result<(Vec<u32>, Digest), String> {
        if self.lanes.len() != self.length {
            return Err(format!(
                "ended its vector after {} of {} lanes",
                self.lanes.len(),
                self.length
            ));
        }
        let root = root(self.kind, &self.ctx, self.length, &self.hashes);
        Ok((self.lanes, root))
    }
}

fn chunk_hash(kind: VectorKind, ctx: &Digest, index: usize, chunk: &[u32]) -> Digest {
    let mut hasher = Hasher::new("chunk");
    hasher.part(&[tag(kind)]);
    hasher.part(&ctx.0);
    hasher.part(&(index as u64).to_le_bytes());
    hasher.lanes(chunk);
    hasher.finish()
}

fn root(kind: VectorKind, ctx: &Digest, length: usize, hashes: &[Digest]) -> Digest {
    let (tag, length) = ([tag(kind)], (length as u64).to_le_bytes());
    let mut parts: Vec<&[u8]> = vec![&tag, &ctx.0, &length];
    parts.extend(hashes.iter().map(|hash| hash.0.as_slice()));
    hash("vector root", &parts)
}

fn tag(kind: VectorKind) -> u8 {
    match kind {
        VectorKind::Masked => 1,
        VectorKind::Sum => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(length: usize) -> Vec<u32> {
        (0..length).map(|i| (i as u32).wrapping_mul(2_654_435_761)).collect()
    }

    #[test]
    fn chunks_give_back_the_vector_and_its_root() {
        let ctx = hash("c", &[]);
        for length in [1, CHUNK_LANES - 1, CHUNK_LANES, CHUNK_LANES + 1, 2 * CHUNK_LANES + 7] {
            let x = vector(length);
            let mut assembler = Assembler::new(VectorKind::Sum, ctx, length);
            for (index, chunk) in x.chunks(CHUNK_LANES).enumerate() {
                assembler.accept(index as u32, chunk).unwrap();
                assembler.accept(index as u32, chunk).unwrap();
            }
            let (y, root) = assembler.finish().unwrap();
            assert_eq!(y, x);
            assert_eq!(root, vector_root(VectorKind::Sum, &ctx, &x));
            assert_ne!(root, vector_root(VectorKind::Masked, &ctx, &x));
            assert_ne!(root, vector_root(VectorKind::Sum, &Digest::ZERO, &x));
        }
    }

    #[test]
    fn wrong_chunks_are_refused() {
        let new = || Assembler::new(VectorKind::Masked, Digest::ZERO, CHUNK_LANES + 2);
        let full = vector(CHUNK_LANES);
        assert!(new().accept(1, &full).is_err());
        assert!(new().accept(0, &full[1..]).is_err());
        let mut assembler = new();
        assembler.accept(0, &full).unwrap();
        assert!(assembler.accept(0, &full[1..]).is_err());
        assert!(assembler.accept(1, &[1, 2, 3]).is_err());
        assembler.accept(1, &[1, 2]).unwrap();
        assert!(assembler.accept(2, &[]).is_err());
        assert!(new().finish().is_err());
    }
}
