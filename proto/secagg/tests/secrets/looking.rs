//! An allocator that looks through every block that is freed for patterns that the
//! current thread is watching. It sees the heap only.
#![expect(unsafe_code, reason = "an allocator that looks at what is freed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Most patterns of 16 bytes that are watched at a time, per thread. They are kept with
/// every bit turned over, or the watch would find its own copies on the stack: a value
/// with unused bytes carries along what stood there.
const WATCHED: usize = 8;

thread_local! {
    static PATTERNS: Cell<[[u8; 16]; WATCHED]> = const { Cell::new([[0; 16]; WATCHED]) };
    static USED: Cell<usize> = const { Cell::new(0) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

struct Looking;

impl Looking {
    /// Counts the watched patterns in a block.
    fn look(block: &[u8]) {
        let used = USED.try_with(Cell::get).unwrap_or(0);
        if used == 0 || block.len() < 16 {
            return;
        }
        let Ok(patterns) = PATTERNS.try_with(Cell::get) else { return };
        for window in block.windows(16) {
            let same = |pattern: &[u8; 16]| pattern.iter().zip(window).all(|(a, b)| *a == !b);
            if patterns.iter().take(used).any(same) {
                let _ = FOUND.try_with(|found| found.set(found.get() + 1));
            }
        }
    }
}

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`. Zeros, so that
        // `dealloc` never looks at what nobody has written.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is live until it is given back below, has `layout.size()`
        // bytes, and all of them are initialised, because `alloc` gave out zeros.
        Self::look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

/// How often the patterns stood in memory that `work` gave back on this thread.
pub fn left_behind(patterns: &[[u8; 16]], work: impl FnOnce()) -> usize {
    let mut all = [[0; 16]; WATCHED];
    for (slot, pattern) in all.iter_mut().zip(patterns) {
        *slot = *pattern;
    }
    PATTERNS.set(all);
    FOUND.set(0);
    USED.set(patterns.len().min(WATCHED));
    work();
    USED.set(0);
    FOUND.get()
}
