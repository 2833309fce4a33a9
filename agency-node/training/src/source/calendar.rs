//! Days and times of the Gregorian calendar, as numbers and as text. No time zones: a time is what
//! the clock on the wall said.

use std::fmt;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// A moment: days since 1970-01-01 and seconds of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub days: i64,
    /// Seconds since midnight; `None` if only the day is known.
    pub seconds: Option<u32>,
}

/// A day as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Year, 1 to 9999.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
}

impl Civil {
    /// The number of the day, if there is such a day.
    pub fn days(self) -> Option<i64> {
        let Self { year, month, day } = self;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=9999).contains(&year) || !(1..=length).contains(&day) {
            return None;
        }
        // Years that begin in March, in cycles of 400 years.
        let year = if month <= 2 { year - 1 } else { year };
        let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
        Some(cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468)
    }

    /// The day of a number.
    pub fn of(days: i64) -> Self {
        let shifted = days.saturating_add(719_468);
        let (cycle, of_cycle) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let march = (5 * of_year + 2) / 153;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let day = of_year - (153 * march + 2) / 5 + 1;
        let year = year + cycle * 400 + i64::from(month <= 2);
        Self { year, month: month as u32, day: day as u32 }
    }
}

impl Moment {
    /// From seconds since 1970-01-01T00:00:00.
    pub fn of_seconds(seconds: i64) -> Self {
        let of_day = seconds.rem_euclid(DAY) as u32;
        Self { days: seconds.div_euclid(DAY), seconds: Some(of_day) }
    }

    /// The day.
    pub fn civil(self) -> Civil {
        Civil::of(self.days)
    }

    /// Reads `YYYY-MM-DD`, possibly followed by `T` or a blank and `hh:mm`, `hh:mm:ss` or
    /// `hh:mm:ss.f`, and possibly by `Z` or an offset, which is left out of account.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, rest) = text.trim().split_at_checked(10)?;
        let mut parts = Reader(day.as_bytes());
        let civil = Civil {
            year: parts.number(4)?,
            month: u32::try_from(parts.after(b'-')?.number(2)?).ok()?,
            day: u32::try_from(parts.after(b'-')?.number(2)?).ok()?,
        };
        let days = civil.days()?;
        if rest.is_empty() {
            return Some(Self { days, seconds: None });
        }
        let mut parts = Reader(rest.strip_prefix(['T', 't', ' '])?.as_bytes());
        let (hour, minute) = (parts.number(2)?, parts.after(b':')?.number(2)?);
        let second = match parts.after(b':') {
            Some(parts) => parts.number(2)?,
            None => 0,
        };
        parts.fraction();
        parts.is_offset().then_some(())?;
        Self { days, seconds: None }.at(hour, minute, second)
    }

    /// Reads a text by a pattern of `YYYY`, `MM`, `DD`, `hh`, `mm`, `ss` and whatever else stands
    /// between them. A pattern without a day means the first of the month.
    pub fn parse_by(pattern: &str, text: &str) -> Option<Self> {
        let (mut pattern, mut text) = (pattern.as_bytes(), Reader(text.trim().as_bytes()));
        let mut civil = Civil { year: 0, month: 1, day: 1 };
        let mut time: [Option<i64>; 3] = [None; 3];
        while let Some(first) = pattern.first() {
            let field = FIELDS.iter().find(|field| pattern.starts_with(field.as_bytes()));
            let Some(field) = field else {
                text.after(*first)?;
                pattern = pattern.get(1..)?;
                continue;
            };
            let value = text.number(field.len())?;
            match *field {
                "YYYY" => civil.year = value,
                "MM" => civil.month = u32::try_from(value).ok()?,
                "DD" => civil.day = u32::try_from(value).ok()?,
                "hh" => time[0] = Some(value),
                "mm" => time[1] = Some(value),
                _ => time[2] = Some(value),
            }
            pattern = pattern.get(field.len()..)?;
        }
        let moment = Self { days: civil.days()?, seconds: None };
        match (text.0, time) {
            ([], [None, None, None]) => Some(moment),
            ([], [hour, minute, second]) => {
                moment.at(hour.unwrap_or(0), minute.unwrap_or(0), second.unwrap_or(0))
            }
            _ => None,
        }
    }

    fn at(self, hour: i64, minute: i64, second: i64) -> Option<Self> {
        // A leap second is the last of its minute.
        let valid =
            (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
        let seconds = hour * 3600 + minute * 60 + second.min(59);
        valid.then(|| Self { seconds: u32::try_from(seconds).ok(), ..self })
    }

    /// The day of the week, 1 for Monday to 7 for Sunday.
    pub fn weekday(self) -> i64 {
        (self.days + 3).rem_euclid(7) + 1
    }

    /// Hour of the day; `None` if only the day is known.
    pub fn hour(self) -> Option<u32> {
        self.seconds.map(|seconds| seconds / 3600)
    }

    /// Days to another moment, with a fraction if both have a time.
    pub fn days_to(self, other: Self) -> f64 {
        let days = (other.days - self.days) as f64;
        match (self.seconds, other.seconds) {
            (Some(from), Some(to)) => days + (f64::from(to) - f64::from(from)) / DAY as f64,
            _ => days,
        }
    }

    /// Whole years to another moment, as ages are counted; negative if it lies before.
    pub fn years_to(self, other: Self) -> i64 {
        let (from, to) = (self.civil(), other.civil());
        let before = (to.month, to.day) < (from.month, from.day);
        to.year - from.year - i64::from(before)
    }
}

/// What a pattern may hold, with as many digits.
const FIELDS: [&str; 6] = ["YYYY", "MM", "DD", "hh", "mm", "ss"];

/// Whether a pattern can say which day is meant.
pub fn is_pattern(pattern: &str) -> bool {
    pattern.contains("YYYY") && pattern.len() <= 64
}

impl fmt::Display for Moment {
    /// `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day } = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")?;
        match self.seconds {
            Some(s) => write!(f, "T{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
            None => Ok(()),
        }
    }
}

/// Digits and separators of a text, from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
        })
    }

    /// What follows a separator.
    fn after(&mut self, separator: u8) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(&[separator])?;
        Some(self)
    }

    /// Takes a fraction of a second off.
    fn fraction(&mut self) {
        if let Some([b'0'..=b'9', ..]) = self.0.strip_prefix(b".") {
            self.0 = self.0.get(1..).unwrap_or_default();
            while let [b'0'..=b'9', rest @ ..] = self.0 {
                self.0 = rest;
            }
        }
    }

    /// Nothing, `Z`, or `+hh`, `+hhmm`, `+hh:mm` of either sign.
    fn is_offset(&self) -> bool {
        match self.0 {
            [] | [b'Z' | b'z'] => true,
            [b'+' | b'-', digits @ ..] => {
                matches!(digits.len(), 2 | 4 | 5)
                    && digits.iter().all(|b| b.is_ascii_digit() || *b == b':')
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    #[test]
    fn known_days() {
        for (text, days) in [("1970-01-01", 0), ("2000-03-01", 11_017), ("1969-12-31", -1)] {
            assert_eq!(moment(text).days, days, "{text}");
        }
        assert_eq!(moment("2026-11-26").weekday(), 4);
        assert_eq!(moment("2024-02-29 23:59:60.5+01:00").to_string(), "2024-02-29T23:59:59");
        assert_eq!(moment("2024-02-29T07:05Z").hour(), Some(7));
        for bad in
            ["2023-02-29", "2024-13-01", "2024-1-1", "2024-01-01x", "2024-01-01T24:00", "", "é"]
        {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn patterns_of_other_countries() {
        let by = |pattern: &str, text: &str| Moment::parse_by(pattern, text).map(|m| m.to_string());
        assert_eq!(by("DD.MM.YYYY", "01.12.1999").as_deref(), Some("1999-12-01"));
        assert_eq!(
            by("MM/DD/YYYY hh:mm", "12/31/1999 08:30").as_deref(),
            Some("1999-12-31T08:30:00")
        );
        assert_eq!(by("YYYYMM", "199912").as_deref(), Some("1999-12-01"));
        assert_eq!(by("DD.MM.YYYY", "1.12.1999"), None);
        assert_eq!(by("DD.MM.YYYY", "01.12.1999 "), Some("1999-12-01".into()));
        assert_eq!(by("DD.MM.YYYY", "01.12.19990"), None);
    }

    #[test]
    fn ages_are_counted_from_birthday_to_birthday() {
        let years = |a: &str, b: &str| moment(a).years_to(moment(b));
        assert_eq!(years("1960-06-15", "2020-06-14"), 59);
        assert_eq!(years("1960-06-15", "2020-06-15"), 60);
        assert_eq!(years("2000-02-29", "2001-02-28"), 0);
        let hours = moment("2024-01-01T06:00:00").days_to(moment("2024-01-02T18:00:00"));
        assert_eq!(hours, 1.5);
    }

    proptest! {
        #[test]
        fn days_and_dates_are_each_other(days in -700_000i64..2_900_000) {
            let civil = Civil::of(days);
            prop_assert_eq!(civil.days(), Some(days));
            let moment = Moment { days, seconds: None };
            prop_assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", pattern in ".{0,20}") {
            let _ = Moment::parse(&text);
            let _ = Moment::parse_by(&pattern, &text);
        }
    }
}
