//! Names of agencies and datasets: 1 to 63 characters of `a-z`, `0-9` and `-`.

use std::fmt;
use std::str::FromStr;

use crate::error::WireError;
use crate::limits::MAX_NAME_CHARS;

/// Not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {MAX_NAME_CHARS} characters of a-z, 0-9 and -")]
pub struct NameError;

/// Name of an agency, as in its certificate and in the rosters of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgencyName(String);

/// Name of a person with a role at the aggregator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersonName(String);

/// Name under which an agency has registered a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetName(String);

macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// Checks the alphabet and the length.
            ///
            /// # Errors
            /// [`NameError`] if the text is not a name.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if is_name(&name) { Ok(Self(name)) } else { Err(NameError) }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            #[allow(dead_code)] // persons are parsed with their role
            pub(crate) fn parse(field: &'static str, name: String) -> Result<Self, WireError> {
                let found = name.len();
                Self::new(name).map_err(|_| match found {
                    1..=MAX_NAME_CHARS => {
                        WireError::Invalid { field, problem: "may have a-z, 0-9 and - only" }
                    }
                    _ => WireError::Length { field, found, min: 1, max: MAX_NAME_CHARS },
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name!(AgencyName);
name!(PersonName);
name!(DatasetName);

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_strict() {
        for good in ["a", "hospital-3", &"x".repeat(63)] {
            assert_eq!(AgencyName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "a b", "a/b", "ä", "a.b", "a\0", &"x".repeat(64)] {
            assert_eq!(AgencyName::new(bad), Err(NameError), "{bad:?}");
        }
    }

    #[test]
    fn the_wire_error_names_field_and_reason() {
        assert!(matches!(
            DatasetName::parse("d", String::new()),
            Err(WireError::Length { field: "d", found: 0, .. })
        ));
        assert!(matches!(
            DatasetName::parse("d", "B".into()),
            Err(WireError::Invalid { field: "d", .. })
        ));
    }
}
