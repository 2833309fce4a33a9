//! Vectors in chunks of packed lanes: their hashes, their roots, and putting them
//! together again from a stream that may come from anybody. It knows no mask and
//! no phase.

use std::num::NonZeroUsize;

use crate::CHUNK_LANES;
use crate::digest::{Digest, Hasher, hash};
use crate::lanes::{LaneBits, Lanes, chunk_count, chunk_range, is_packed};
use crate::workers;

/// What a vector is; it separates the hashes of masked vectors and of sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorKind {
    /// A node's masked vector.
    Masked,
    /// The unmasked sum.
    Sum,
}

/// Length and lane width of the vectors of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Lanes of a vector.
    pub length: usize,
    /// Bits of a lane.
    pub bits: LaneBits,
}

/// Root of a whole vector under a context: the hash over its length, its lane
/// width and the hashes of its chunks of [`CHUNK_LANES`] packed lanes.
#[must_use]
pub fn vector_root(kind: VectorKind, ctx: &Digest, bits: LaneBits, lanes: &Lanes) -> Digest {
    let chunks = 0..chunk_count(lanes.len());
    let hash = |index| chunk_hash(kind, ctx, index, &lanes.pack_chunk(bits, index));
    let hashes: Vec<Digest> = chunks.map(hash).collect();
    root_of(kind, ctx, Shape { length: lanes.len(), bits }, &hashes)
}

/// A vector's chunks, packed, each with its hash, on several threads.
pub(crate) fn packed_chunks(
    kind: VectorKind,
    ctx: &Digest,
    bits: LaneBits,
    lanes: &Lanes,
    threads: NonZeroUsize,
) -> Vec<(Vec<u8>, Digest)> {
    let chunks = (0..chunk_count(lanes.len())).collect();
    workers::map(threads, chunks, |index| {
        let packed = lanes.pack_chunk(bits, index);
        let hash = chunk_hash(kind, ctx, index, &packed);
        (packed, hash)
    })
}

/// Takes the chunks of one vector in order and holds no more than was sent.
pub(crate) struct Assembler<S> {
    kind: VectorKind,
    ctx: Digest,
    shape: Shape,
    sink: S,
    hashes: Vec<Digest>,
}

/// Where the chunks of a vector go.
pub(crate) trait Sink {
    /// Takes a chunk that is right, at its first lane.
    fn take<D: AsRef<[u8]> + Into<Vec<u8>>>(&mut self, bits: LaneBits, first: usize, data: D);
}

/// Keeps the chunks as they came: the vector counts only when it is whole.
impl Sink for Vec<Vec<u8>> {
    fn take<D: AsRef<[u8]> + Into<Vec<u8>>>(&mut self, _: LaneBits, _: usize, data: D) {
        self.push(data.into());
    }
}

/// Unpacks into lanes that are zero.
impl Sink for Lanes {
    fn take<D: AsRef<[u8]> + Into<Vec<u8>>>(&mut self, bits: LaneBits, first: usize, data: D) {
        self.add_packed(bits, first, data.as_ref());
    }
}

impl Assembler<Vec<Vec<u8>>> {
    /// For a vector that is kept in its packed chunks.
    pub(crate) fn keeping(kind: VectorKind, ctx: Digest, shape: Shape) -> Self {
        Self { kind, ctx, shape, sink: Vec::new(), hashes: Vec::new() }
    }

    /// The vector and its root once every lane is there.
    ///
    /// # Errors
    /// How many chunks are there, if they are too few.
    pub(crate) fn finish(self) -> Result<(PackedVector, Digest), String> {
        let shape = self.shape;
        let (chunks, root) = self.complete()?;
        Ok((PackedVector { shape, chunks }, root))
    }
}

impl Assembler<Lanes> {
    /// For a vector that is unpacked as it comes.
    pub(crate) fn unpacking(kind: VectorKind, ctx: Digest, shape: Shape) -> Self {
        let sink = Lanes::zeros(shape.bits, shape.length);
        Self { kind, ctx, shape, sink, hashes: Vec::new() }
    }

    /// The lanes and their root once every lane is there.
    ///
    /// # Errors
    /// As for a vector that is kept.
    pub(crate) fn finish(self) -> Result<(Lanes, Digest), String> {
        self.complete()
    }
}

impl<S: Sink> Assembler<S> {
    /// Number of the chunk that is due next.
    pub(crate) fn next_chunk(&self) -> u32 {
        u32::try_from(self.hashes.len()).unwrap_or(u32::MAX)
    }

    /// Takes a chunk. A chunk that was taken before and is the same is ignored.
    ///
    /// # Errors
    /// What is wrong with it, to be said of its sender.
    pub(crate) fn accept<D: AsRef<[u8]> + Into<Vec<u8>>>(
        &mut self,
        index: u32,
        data: D,
    ) -> Result<(), String> {
        let (position, bytes) = (index as usize, data.as_ref());
        let found = chunk_hash(self.kind, &self.ctx, position, bytes);
        if let Some(known) = self.hashes.get(position) {
            if *known == found {
                return Ok(());
            }
            return Err(format!("sent two different chunks number {index}"));
        }
        if position != self.hashes.len() {
            return Err(format!("sent chunk {index} where {} was due", self.hashes.len()));
        }
        let range = chunk_range(self.shape.length, position);
        let due = range.len();
        if due == 0 {
            return Err(format!("sent more than the {} lanes of the vector", self.shape.length));
        }
        if !is_packed(self.shape.bits, due, bytes) {
            return Err(format!(
                "sent {} bytes in chunk {index}; {} of {due} lanes of {} bits were due",
                bytes.len(),
                self.shape.bits.packed_bytes(due),
                self.shape.bits.bits()
            ));
        }
        self.sink.take(self.shape.bits, range.start, data);
        self.hashes.push(found);
        Ok(())
    }

    fn complete(self) -> Result<(S, Digest), String> {
        let due = chunk_count(self.shape.length);
        if self.hashes.len() != due {
            return Err(format!("ended its vector after {} of {due} chunks", self.hashes.len()));
        }
        let root = root_of(self.kind, &self.ctx, self.shape, &self.hashes);
        Ok((self.sink, root))
    }
}

/// A complete vector in packed chunks.
pub(crate) struct PackedVector {
    shape: Shape,
    chunks: Vec<Vec<u8>>,
}

impl PackedVector {
    /// Adds the vector to `sum`, which has its shape, on several threads; every
    /// chunk is freed as soon as it is added.
    pub(crate) fn add_to(self, sum: &mut Lanes, threads: NonZeroUsize) {
        let bits = self.shape.bits;
        match sum {
            Lanes::Narrow(words) => {
                let parts = self.chunks.into_iter().zip(words.chunks_mut(CHUNK_LANES)).collect();
                workers::map(threads, parts, |(chunk, words)| {
                    crate::packing::add(bits, &chunk, words);
                });
            }
            Lanes::Wide(words) => {
                let parts = self.chunks.into_iter().zip(words.chunks_mut(CHUNK_LANES)).collect();
                workers::map(threads, parts, |(chunk, words)| {
                    crate::packing::add(bits, &chunk, words);
                });
            }
        }
    }
}

/// Hash of one packed chunk at its place in a vector.
pub(crate) fn chunk_hash(kind: VectorKind, ctx: &Digest, index: usize, data: &[u8]) -> Digest {
    let mut hasher = Hasher::new("chunk");
    hasher.part(&[tag(kind)]);
    hasher.part(&ctx.0);
    hasher.part(&(index as u64).to_le_bytes());
    hasher.part(data);
    hasher.finish()
}

/// Root over the hashes of all chunks.
pub(crate) fn root_of(kind: VectorKind, ctx: &Digest, shape: Shape, hashes: &[Digest]) -> Digest {
    let (tag, length) = ([tag(kind), shape.bits.bits()], (shape.length as u64).to_le_bytes());
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

    fn vector(bits: LaneBits, length: usize) -> Lanes {
        let words = (0..length).map(|i| (i as u32).wrapping_mul(2_654_435_761));
        let lanes: Lanes = if bits.is_narrow() {
            words.map(|word| word as u16).collect::<Vec<_>>().into()
        } else {
            words.collect::<Vec<_>>().into()
        };
        lanes.reduced(bits)
    }

    #[test]
    fn chunks_give_back_the_vector_and_its_root() {
        let ctx = hash("c", &[]);
        for bits in [7, 16, 26, 32].map(|bits| LaneBits::new(bits).unwrap()) {
            for length in [1, CHUNK_LANES - 1, CHUNK_LANES, CHUNK_LANES + 1, 2 * CHUNK_LANES + 7] {
                let x = vector(bits, length);
                let shape = Shape { length, bits };
                let mut keeping = Assembler::keeping(VectorKind::Sum, ctx, shape);
                let mut unpacking = Assembler::unpacking(VectorKind::Sum, ctx, shape);
                for index in 0..chunk_count(length) {
                    for _ in 0..2 {
                        keeping.accept(index as u32, x.pack_chunk(bits, index)).unwrap();
                        unpacking.accept(index as u32, x.pack_chunk(bits, index)).unwrap();
                    }
                }
                let (packed, root) = keeping.finish().unwrap();
                assert_eq!(unpacking.finish().unwrap(), (x.clone(), root));
                let threads = NonZeroUsize::new(3).unwrap();
                let mut sum = Lanes::zeros(bits, length);
                packed.add_to(&mut sum, threads);
                assert_eq!(sum, x);
                assert_eq!(root, vector_root(VectorKind::Sum, &ctx, bits, &x));
                let chunks = packed_chunks(VectorKind::Sum, &ctx, bits, &x, threads);
                let hashes: Vec<Digest> = chunks.into_iter().map(|(_, hash)| hash).collect();
                assert_eq!(root, root_of(VectorKind::Sum, &ctx, shape, &hashes));
                assert_ne!(root, vector_root(VectorKind::Masked, &ctx, bits, &x));
                assert_ne!(root, vector_root(VectorKind::Sum, &Digest::ZERO, bits, &x));
            }
        }
    }

    #[test]
    fn wrong_chunks_are_refused() {
        let bits = LaneBits::FULL;
        let shape = Shape { length: CHUNK_LANES + 2, bits };
        let new = || Assembler::keeping(VectorKind::Masked, Digest::ZERO, shape);
        let full = vector(bits, CHUNK_LANES).pack(bits);
        assert!(new().accept(1, full.clone()).is_err());
        assert!(new().accept(0, full[4..].to_vec()).is_err());
        let mut assembler = new();
        assembler.accept(0, full.clone()).unwrap();
        assert!(assembler.accept(0, full[4..].to_vec()).is_err());
        assert!(assembler.accept(1, vec![0; 12]).is_err());
        assembler.accept(1, vec![0; 8]).unwrap();
        assert!(assembler.accept(2, Vec::new()).is_err());
        assert!(new().finish().is_err());
    }
}
