//! Which records belong to one person.
//!
//! While a table is read, persons are told apart by the exact text of their cell; what stays in
//! memory are numbers. It knows neither features nor labels, and nothing of it may be sent or logged.

use std::collections::HashMap;

/// The records of each person, grouped. Persons are numbered in the order of their first record.
pub struct Persons {
    /// Records, person by person, each person's in file order.
    rows: Vec<u32>,
    /// Where each person's records begin in `rows`, and the end.
    starts: Vec<usize>,
}

impl Persons {
    /// Number of persons.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no persons.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records of a person, in file order: at least one, at most what the specification allows.
    ///
    /// # Panics
    /// If there is no such person (numbers come from this process's own sampler).
    pub fn rows_of(&self, person: u32) -> &[u32] {
        let person = person as usize;
        &self.rows[self.starts[person]..self.starts[person + 1]]
    }
}

impl std::fmt::Debug for Persons {
    /// Nothing: how many persons there are depends on the records.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Persons { .. }")
    }
}

/// Persons of the rows read so far.
pub(crate) struct Grouping {
    most: u32,
    numbers: HashMap<Box<[u8]>, u32>,
    /// Person of each record that is kept.
    of_record: Vec<u32>,
    /// Records of each person that are kept.
    counts: Vec<u32>,
}

impl Grouping {
    /// Keeps at most `most` records of a person.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, numbers: HashMap::new(), of_record: Vec::new(), counts: Vec::new() }
    }

    /// Whether the next row is kept; it is the person's own earlier rows alone that decide.
    pub(crate) fn admit(&mut self, cell: &[u8]) -> bool {
        let person = match self.numbers.get(cell) {
            Some(person) => *person,
            None => {
                let person = self.counts.len() as u32;
                self.numbers.insert(cell.into(), person);
                self.counts.push(0);
                person
            }
        };
        let count = &mut self.counts[person as usize];
        if *count >= self.most {
            return false;
        }
        *count += 1;
        self.of_record.push(person);
        true
    }

    /// The persons, once every row has been seen.
    pub(crate) fn finish(self) -> Persons {
        let mut starts = Vec::with_capacity(self.counts.len() + 1);
        let mut next = 0;
        starts.push(next);
        for count in &self.counts {
            next += *count as usize;
            starts.push(next);
        }
        let mut places = starts.clone();
        let mut rows = vec![0; self.of_record.len()];
        for (record, person) in (0..).zip(&self.of_record) {
            let place = &mut places[*person as usize];
            rows[*place] = record;
            *place += 1;
        }
        Persons { rows, starts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_grouped_in_file_order_and_capped() {
        let mut grouping = Grouping::new(2);
        let kept: Vec<bool> = ["b", "a", "b", "B", "b", "a", "a"]
            .iter()
            .map(|cell| grouping.admit(cell.as_bytes()))
            .collect();
        assert_eq!(kept, [true, true, true, true, false, true, false]);
        let persons = grouping.finish();
        let all: Vec<&[u32]> = (0..persons.len() as u32).map(|i| persons.rows_of(i)).collect();
        assert_eq!(all, [&[0, 2][..], &[1, 4], &[3]]);
        assert_eq!(format!("{persons:?}"), "Persons { .. }");
        assert!(Grouping::new(3).finish().is_empty());
    }

    #[test]
    fn the_largest_person_that_a_job_may_allow_fits_a_microbatch() {
        let most = tributary_job::spec::MAX_RECORDS_PER_PERSON as usize;
        assert!(most <= crate::MICROBATCH);
    }

    proptest! {
        #[test]
        fn what_is_kept_of_a_person_depends_on_no_other(cells in
            proptest::collection::vec(0u8..5, 0..60), other in 0u8..5) {
            let run = |cells: &[u8]| {
                let mut grouping = Grouping::new(3);
                cells.iter().map(|c| grouping.admit(&[*c])).collect::<Vec<_>>()
            };
            let rest: Vec<u8> = cells.iter().copied().filter(|c| *c != other).collect();
            let all = run(&cells).into_iter().zip(&cells).filter(|(_, c)| **c != other);
            prop_assert_eq!(all.map(|(kept, _)| kept).collect::<Vec<_>>(), run(&rest));
        }
    }
}
