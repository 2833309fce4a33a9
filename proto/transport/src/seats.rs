//! So many places for each key: connections of a member, handshakes of an address.
//!
//! Knows no sockets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many places each key has taken.
#[derive(Debug)]
pub(crate) struct Seats<K: Ord>(Arc<Mutex<BTreeMap<K, usize>>>);

/// A place that is taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat<K: Ord> {
    key: K,
    seats: Seats<K>,
}

impl<K: Ord> Clone for Seats<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord> Default for Seats<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone> Seats<K> {
    /// One more place for a key, if it has fewer than `most`.
    pub(crate) fn take(&self, key: &K, most: usize) -> Option<Seat<K>> {
        // A panic elsewhere says nothing about the numbers.
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(key).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        Some(Seat { key: key.clone(), seats: self.clone() })
    }
}

impl<K: Ord> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_so_many_places_and_gets_them_back() {
        let seats = Seats::default();
        let first = seats.take(&"a", 2).unwrap();
        let second = seats.take(&"a", 2).unwrap();
        assert!(seats.take(&"a", 2).is_none());
        assert!(seats.take(&"b", 2).is_some(), "another key has its own");
        drop(first);
        let third = seats.take(&"a", 2).unwrap();
        drop((second, third));
        assert!(seats.0.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }
}
