//! The other end of [`super::children`]: a process that ends with the one that started it.

use std::io;

/// The exit status of a process whose starter is gone.
const ORPHANED: i32 = 3;

/// Ends this process when its standard input closes.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        // An error says the same as an end: nobody is there any more.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(ORPHANED);
    });
}
