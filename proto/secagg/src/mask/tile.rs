//! Many masks over one vector: tiles that stay in cache, blocks that are worked on
//! by several threads. It knows no cipher and no meaning of a block.

use core::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::stream::Stream;
use super::{Kernel, Lane, MaskKey, Sign, kernel};

/// Bytes of the vector that take all masks before the next ones: fits the
/// second-level cache of any machine and leaves room for the round keys.
const TILE: usize = 64 * 1024;

/// Lanes that a thread takes at once when the caller has no blocks of his own.
const SHARE: usize = 128 * 1024;

/// Adds (or subtracts) the streams of all `masks` to `lanes` in one pass over the
/// vector, where `lanes[0]` meets lane number `first` of each stream.
///
/// The work is shared by `workers` threads, the calling one among them: with one
/// worker no thread is made, and where the system gives none the others do it.
pub fn apply_all<L: Lane>(
    masks: &[(MaskKey, Sign)],
    first: u64,
    lanes: &mut [L],
    workers: NonZeroUsize,
) {
    apply_all_with(kernel(), masks, first, lanes, workers);
}

/// [`apply_all`] through a given kernel, for tests and benches; one that this
/// machine lacks is replaced as in [`super::apply_with`].
pub fn apply_all_with<L: Lane>(
    kernel: Kernel,
    masks: &[(MaskKey, Sign)],
    first: u64,
    lanes: &mut [L],
    workers: NonZeroUsize,
) {
    let block = if workers.get() == 1 { lanes.len() } else { SHARE };
    run(&expand(kernel, masks), first, lanes, block, workers, |_, _| ());
}

/// [`apply_all`] from the streams' first lane on, in blocks of `block` lanes (the
/// last may be shorter; 0 counts as 1): as soon as all masks are on a block, `done`
/// gets its index and its lanes while they are still in cache.
///
/// A block is never split between threads. The results come in the order of the
/// blocks; a panic of `done` is passed on.
pub fn apply_all_then<L: Lane, R: Send>(
    masks: &[(MaskKey, Sign)],
    lanes: &mut [L],
    block: usize,
    workers: NonZeroUsize,
    done: impl Fn(usize, &[L]) -> R + Sync,
) -> Vec<R> {
    run(&expand(kernel(), masks), 0, lanes, block, workers, done)
}

fn expand(kernel: Kernel, masks: &[(MaskKey, Sign)]) -> Vec<(Stream, Sign)> {
    masks.iter().map(|(key, sign)| (Stream::new(kernel, key), *sign)).collect()
}

fn run<L: Lane, R: Send>(
    streams: &[(Stream, Sign)],
    first: u64,
    lanes: &mut [L],
    block: usize,
    workers: NonZeroUsize,
    done: impl Fn(usize, &[L]) -> R + Sync,
) -> Vec<R> {
    let block = block.max(1);
    let helpers = workers.get().min(lanes.len().div_ceil(block)).saturating_sub(1);
    let queue = Mutex::new(lanes.chunks_mut(block).enumerate());
    let work = || {
        let mut results = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, lanes)) = next else { return results };
            // A block starts inside the vector: neither factor nor sum overflows.
            tiles(streams, u128::from(first) + (index * block) as u128, lanes);
            results.push((index, done(index, lanes)));
        }
    };
    let mut results = thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut results = work();
        for helper in helpers {
            results.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Applies all streams, tile by tile. Tiles end at multiples of their size in the
/// stream, so that only the ends of a range are ragged.
fn tiles<L: Lane>(streams: &[(Stream, Sign)], first: u128, lanes: &mut [L]) {
    let tile = TILE / L::BYTES;
    let (mut first, mut rest) = (first, lanes);
    while !rest.is_empty() {
        let length = (tile - (first % tile as u128) as usize).min(rest.len());
        let lanes;
        (lanes, rest) = rest.split_at_mut(length);
        for (stream, sign) in streams {
            stream.apply(*sign, first, lanes);
        }
        first += length as u128;
    }
}
