//! The stream by the `aes` and `ctr` crates: runs everywhere in constant time, and
//! the other kernels are measured against it. It knows no instruction set.

use aes::Aes256;
use ctr::cipher::generic_array::GenericArray;
use ctr::cipher::{InnerIvInit as _, StreamCipherCore as _};
use ctr::{CtrCore, flavors};
use zeroize::Zeroize as _;

use super::lane::{Lane, fold};
use super::stream::{BLOCKS, Group};

/// Groups whose stream is made at once: the buffer stays in the first-level cache.
const BATCH: usize = 8;

/// Adds (or subtracts) the stream of `cipher`, from group `first` on, to `groups`.
pub(super) fn apply<L: Lane, const MINUS: bool>(cipher: &Aes256, first: u64, groups: &mut [Group]) {
    let counter = u128::from(first) * BLOCKS as u128;
    let mut counter =
        CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(cipher, &counter.to_be_bytes().into());
    let mut stream = [GenericArray::from([0u8; 16]); BATCH * BLOCKS];
    for groups in groups.chunks_mut(BATCH) {
        counter.write_keystream_blocks(&mut stream);
        let blocks = groups.as_flattened_mut().as_chunks_mut::<16>().0;
        for (block, stream) in blocks.iter_mut().zip(&stream) {
            fold::<L, MINUS>(block, stream);
        }
    }
    stream.as_mut_slice().iter_mut().for_each(|block| block.as_mut_slice().zeroize());
}
