//! Work on many pieces by a few threads that end before the call returns. It
//! knows nothing of the pieces.

use std::num::NonZeroUsize;
use std::sync::Mutex;

/// `work` on every piece, results in the order of the pieces. One thread means
/// the calling one; no thread outlives the call.
pub(crate) fn map<T: Send, R: Send>(
    threads: NonZeroUsize,
    pieces: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.get().min(pieces.len());
    if threads <= 1 {
        return pieces.into_iter().map(work).collect();
    }
    let total = pieces.len();
    let queue = Mutex::new(pieces.into_iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(total));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    // A poisoned lock means that another thread panicked; the scope
                    // passes that on when it ends.
                    let Ok(mut queue) = queue.lock() else { return };
                    let Some((position, piece)) = queue.next() else { break };
                    drop(queue);
                    mine.push((position, work(piece)));
                }
                if let Ok(mut done) = done.lock() {
                    done.extend(mine);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_for_any_number_of_threads() {
        for threads in [1, 2, 3, 8, 100] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let doubled = map(threads, (0..57u64).collect(), |piece| piece * 2);
            assert!(doubled.iter().copied().eq((0..57).map(|piece| piece * 2)));
            assert!(map(threads, Vec::<u8>::new(), |piece| piece).is_empty());
        }
    }
}
