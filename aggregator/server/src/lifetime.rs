//! A length of time in a configuration: a whole number with `s`, `m`, `h` or `d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a certificate is valid, for example `30d` or `36h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Lifetime(Duration);

/// The shortest: below it a member cannot renew in time.
const LEAST: Duration = Duration::from_secs(10);
/// The longest: what public authorities allowed for years.
const MOST: Duration = Duration::from_secs(825 * 24 * 3600);

impl Lifetime {
    /// 30 days: a node that was off for a week still renews in time, and a stolen certificate that
    /// nobody notices is worth something for a month at most.
    pub const DEFAULT: Self = Self(Duration::from_secs(30 * 24 * 3600));

    /// The time.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("{text:?} is no lifetime: between 10s and 825d, as in \"36h\" or \"30d\"");
        let unit = text.chars().last().ok_or_else(error)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => return Err(error()),
        };
        let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| error())?;
        let time = Duration::from_secs(number.checked_mul(factor).ok_or_else(error)?);
        if (LEAST..=MOST).contains(&time) { Ok(Self(time)) } else { Err(error()) }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (unit, factor) in [('d', 24 * 3600), ('h', 3600), ('m', 60)] {
            if seconds.is_multiple_of(factor) {
                return write!(f, "{}{unit}", seconds / factor);
            }
        }
        write!(f, "{seconds}s")
    }
}

impl TryFrom<String> for Lifetime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        lifetime.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_read_back_and_mistakes_are_named() {
        for text in ["30d", "36h", "15s", "90m", "825d"] {
            assert_eq!(text.parse::<Lifetime>().unwrap().to_string(), text);
        }
        assert_eq!("48h".parse::<Lifetime>().unwrap().to_string(), "2d");
        for text in
            ["", "d", "0d", "9s", "826d", "30", "30 days", "-1d", "1e9d", "99999999999999999d"]
        {
            assert!(text.parse::<Lifetime>().unwrap_err().contains("36h"), "{text}");
        }
    }
}
