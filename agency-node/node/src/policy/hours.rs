//! When rounds may run: days of the week and times of day, in UTC.
//!
//! Knows no clock; it is asked about a time.

use schemars::JsonSchema;
use serde::Deserialize;
use time::{Duration, OffsetDateTime, Weekday};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// One window, `days`, `from`, `to` in UTC. Where `to` is not after `from` the window goes on into the
/// next day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(into = "Fields")]
pub struct Hours {
    days: Vec<Weekday>,
    from: u16,
    to: u16,
}

/// A window as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    days: Vec<String>,
    /// From this time of day on, `"18:00"`.
    from: String,
    /// Until this one; `"24:00"` is midnight at the end.
    to: String,
}

impl TryFrom<Fields> for Hours {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let days = fields.days.iter().map(|d| day(d)).collect::<Result<Vec<_>, _>>()?;
        if days.is_empty() {
            return Err("hours.days: name at least one of mon, tue, wed, thu, fri, sat, sun".into());
        }
        let (from, to) = (minute(&fields.from)?, minute(&fields.to)?);
        if from == to || from == DAY {
            return Err(format!(
                "hours: from {:?} to {:?} is no span; a whole day is \"00:00\" to \"24:00\"",
                fields.from, fields.to
            ));
        }
        Ok(Self { days, from, to })
    }
}

impl Hours {
    /// Whether a time lies within the window.
    pub fn contains(&self, at: OffsetDateTime) -> bool {
        let at = at.to_offset(time::UtcOffset::UTC);
        let (today, now) = (at.weekday(), u16::from(at.hour()) * 60 + u16::from(at.minute()));
        let on = |day: Weekday| self.days.contains(&day);
        match self.from < self.to {
            true => on(today) && (self.from..self.to).contains(&now),
            false => (on(today) && now >= self.from) || (on(today.previous()) && now < self.to),
        }
    }
}

/// Whether rounds may run at a time. No window means at any time.
pub fn open(windows: &[Hours], at: OffsetDateTime) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.contains(at))
}

/// When rounds may run next, to the minute; `None` if never.
pub fn next_opening(windows: &[Hours], at: OffsetDateTime) -> Option<OffsetDateTime> {
    let minute = at.replace_second(0).and_then(|at| at.replace_nanosecond(0)).ok()?;
    let within_a_week = 0..=i64::from(DAY) * 7 + 1;
    let times = within_a_week.filter_map(|i| minute.checked_add(Duration::minutes(i)));
    times.into_iter().find(|time| open(windows, *time))
}

fn day(text: &str) -> Result<Weekday, String> {
    Ok(match text {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        other => return Err(format!("hours.days: {other:?} is none of mon, tue, ..., sun")),
    })
}

/// `HH:MM`, up to `24:00`.
fn minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("hours: {text:?} is no time of day; write it as \"HH:MM\", in UTC");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    if !(digits(hours) && digits(minutes)) {
        return Err(wrong());
    }
    let hours: u16 = hours.parse().map_err(|_| wrong())?;
    let minutes: u16 = minutes.parse().map_err(|_| wrong())?;
    let total = hours * 60 + minutes;
    if minutes < 60 && total <= DAY { Ok(total) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    fn windows(text: &str) -> Result<Vec<Hours>, String> {
        #[derive(Deserialize)]
        struct File {
            hours: Vec<Hours>,
        }
        toml::from_str(text).map(|f: File| f.hours).map_err(|e| e.to_string())
    }

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    #[test]
    fn a_window_may_go_over_midnight_and_is_in_utc() {
        // 2026-01-02 is a Friday.
        let night = windows("hours = [{ days = [\"fri\"], from = \"20:00\", to = \"06:00\" }]");
        let night = night.unwrap();
        for (time, inside) in [
            ("2026-01-02T19:59:59Z", false),
            ("2026-01-02T20:00:00Z", true),
            ("2026-01-03T05:59:59Z", true),
            ("2026-01-03T06:00:00Z", false),
            ("2026-01-03T20:00:00Z", false),
            ("2026-01-02T05:00:00Z", false),
            // 20:30 in a zone two hours ahead is 18:30 in UTC.
            ("2026-01-02T20:30:00+02:00", false),
        ] {
            assert_eq!(open(&night, at(time)), inside, "{time}");
        }
        assert!(open(&[], at("2026-01-02T12:00:00Z")), "no window, no bound");
        let next = next_opening(&night, at("2026-01-03T07:00:30Z")).unwrap();
        assert_eq!(next, at("2026-01-09T20:00:00Z"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("{ days = [], from = \"08:00\", to = \"09:00\" }", "at least one"),
            ("{ days = [\"monday\"], from = \"08:00\", to = \"09:00\" }", "monday"),
            ("{ days = [\"mon\"], from = \"8:00\", to = \"09:00\" }", "HH:MM"),
            ("{ days = [\"mon\"], from = \"08:00\", to = \"24:01\" }", "24:01"),
            ("{ days = [\"mon\"], from = \"08:00\", to = \"08:00\" }", "no span"),
            ("{ days = [\"mon\"], from = \"08:00\", to = \"09:00\", zone = \"CET\" }", "zone"),
        ] {
            let error = windows(&format!("hours = [{text}]")).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        windows("hours = [{ days = [\"mon\"], from = \"00:00\", to = \"24:00\" }]").unwrap();
    }
}
