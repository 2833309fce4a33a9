//! Members of a federation: its agencies, and the people with a role at the aggregator.

use std::fmt;
use std::str::FromStr;

use crate::error::WireError;
use crate::limits::MAX_NAME_CHARS;
use crate::names::{AgencyName, NameError, PersonName};

/// What a person may do at the aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the service: lets members in and out, ends jobs.
    Operator,
    /// Writes jobs, follows them and takes their models.
    Researcher,
    /// Looks at everything and changes nothing.
    Auditor,
}

/// Whoever can hold a certificate of the federation, besides the aggregator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// An agency. Written as its name.
    Agency(AgencyName),
    /// A person with a role. Written as `role/name`.
    Person(Role, PersonName),
}

/// Text that names no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The name breaks the alphabet.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A role that does not exist.
    #[error("a role is one of operator, researcher, auditor")]
    Role,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Researcher, Self::Auditor];

    /// The role's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Researcher => "researcher",
            Self::Auditor => "auditor",
        }
    }
}

impl Member {
    /// The agency, if it is one.
    pub fn agency(&self) -> Option<&AgencyName> {
        match self {
            Self::Agency(agency) => Some(agency),
            Self::Person(..) => None,
        }
    }

    pub(crate) fn parse(field: &'static str, text: String) -> Result<Self, WireError> {
        const MAX: usize = MAX_NAME_CHARS + 16;
        let found = text.len();
        if !(1..=MAX).contains(&found) {
            return Err(WireError::Length { field, found, min: 1, max: MAX });
        }
        let problem = "names neither an agency nor a role and a person";
        text.parse().map_err(|_| WireError::Invalid { field, problem })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(MemberError::Role)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agency(agency) => agency.fmt(f),
            Self::Person(role, name) => write!(f, "{role}/{name}"),
        }
    }
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        match text.split_once('/') {
            // A name has no slash, so the two forms cannot be mistaken for each other.
            Some((role, name)) => Ok(Self::Person(role.parse()?, PersonName::new(name)?)),
            None => Ok(Self::Agency(AgencyName::new(text)?)),
        }
    }
}

impl From<AgencyName> for Member {
    fn from(agency: AgencyName) -> Self {
        Self::Agency(agency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_back_and_nothing_else_is_one() {
        for text in ["north", "operator/ada", "researcher/grace-2", "auditor/x"] {
            assert_eq!(text.parse::<Member>().unwrap().to_string(), text);
        }
        assert_eq!("operator".parse::<Member>().unwrap().to_string(), "operator", "an agency");
        for text in ["", "/", "operator/", "king/ada", "operator/a/b", "Operator/ada", "operator/A"]
        {
            assert!(text.parse::<Member>().is_err(), "{text}");
        }
    }
}
