//! The name that a mistyped one was probably meant to be.
//!
//! Knows only text.

/// The candidate at the smallest edit distance from `wanted`, ignoring case, if it is close enough
/// to be a plausible slip (at most a third of the longer name, and at least one).
pub(crate) fn nearest<'a>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().collect();
    candidates
        .into_iter()
        .map(|candidate| {
            let other: Vec<char> = candidate.to_lowercase().chars().collect();
            let allowed = (wanted.len().max(other.len()) / 3).max(1);
            (distance(&wanted, &other), allowed, candidate)
        })
        .filter(|(distance, allowed, _)| distance <= allowed)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let columns = ["age", "hours-per-week", "education"];
        assert_eq!(nearest("Age", columns), Some("age"));
        assert_eq!(nearest("hours_per_week", columns), Some("hours-per-week"));
        assert_eq!(nearest("eduction", columns), Some("education"));
        assert_eq!(nearest("capital-gain", columns), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn known_distances() {
        let of = |a: &str, b: &str| {
            distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!(of("kitten", "sitting"), 3);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("abc", ""), 3);
        assert_eq!(of("same", "same"), 0);
    }
}
