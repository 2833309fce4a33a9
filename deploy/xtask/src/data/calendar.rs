//! Just enough calendar: day of the year, day of the week, US daylight saving time, the hour
//! before. Gregorian, local time.

/// A day. Fields order it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Year.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
}

impl Date {
    /// Day of the year, from 1.
    pub fn day_of_year(self) -> u16 {
        let before: u16 = (1..self.month).map(|month| u16::from(days(self.year, month))).sum();
        before + u16::from(self.day)
    }

    /// Day of the week, 1 = Monday to 7 = Sunday (ISO 8601; Sakamoto's method).
    pub fn day_of_week(self) -> u8 {
        const SHIFT: [u32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let month = usize::from(self.month.clamp(1, 12));
        let shift = SHIFT.get(month - 1).copied().unwrap_or(0);
        let year = u32::from(self.year) - u32::from(self.month < 3);
        let sunday_is_0 =
            (year + year / 4 - year / 100 + year / 400 + shift + u32::from(self.day)) % 7;
        if sunday_is_0 == 0 { 7 } else { sunday_is_0 as u8 }
    }

    /// Whether US daylight saving time holds at noon: second Sunday of March to first Sunday of
    /// November (Energy Policy Act of 2005).
    pub fn us_daylight_saving(self) -> bool {
        let start = Self { month: 3, day: 8, ..self }.next_sunday();
        let end = Self { month: 11, day: 1, ..self }.next_sunday();
        start <= self && self < end
    }

    /// The day before.
    pub fn previous(self) -> Self {
        match (self.day, self.month) {
            (day, _) if day > 1 => Self { day: day - 1, ..self },
            (_, month) if month > 1 => {
                Self { month: month - 1, day: days(self.year, month - 1), ..self }
            }
            _ => Self { year: self.year - 1, month: 12, day: 31 },
        }
    }

    /// This day if it is a Sunday, else the next one; the caller stays inside one month.
    fn next_sunday(self) -> Self {
        Self { day: self.day + (7 - self.day_of_week()), ..self }
    }
}

/// The hour before `(date, hour)`.
pub fn previous_hour(date: Date, hour: u8) -> (Date, u8) {
    if hour == 0 { (date.previous(), 23) } else { (date, hour - 1) }
}

fn days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u8::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: u16, month: u8, day: u8) -> Date {
        Date { year, month, day }
    }

    #[test]
    fn known_days() {
        assert_eq!(date(2013, 1, 1).day_of_week(), 2);
        assert_eq!(date(2013, 12, 31).day_of_week(), 2);
        assert_eq!(date(2000, 2, 29).day_of_week(), 2);
        assert_eq!(date(2013, 3, 10).day_of_week(), 7);
        assert_eq!(date(2013, 12, 31).day_of_year(), 365);
        assert_eq!(date(2012, 12, 31).day_of_year(), 366);
        assert_eq!(date(2013, 3, 1).day_of_year(), 60);
    }

    #[test]
    fn stepping_back_counts_every_day_once() {
        let mut day = date(2014, 1, 1);
        for expected in (1..=365).rev() {
            let weekday = day.day_of_week();
            day = day.previous();
            assert_eq!(day.day_of_year(), expected);
            assert_eq!(day.day_of_week() % 7 + 1, weekday);
        }
        assert_eq!(day, date(2013, 1, 1));
        assert_eq!(previous_hour(day, 0), (date(2012, 12, 31), 23));
        assert_eq!(previous_hour(day, 5), (day, 4));
    }

    #[test]
    fn daylight_saving_of_2013() {
        for (day, summer) in [
            (date(2013, 3, 9), false),
            (date(2013, 3, 10), true),
            (date(2013, 7, 4), true),
            (date(2013, 11, 2), true),
            (date(2013, 11, 3), false),
            (date(2013, 1, 1), false),
        ] {
            assert_eq!(day.us_daylight_saving(), summer, "{day:?}");
        }
    }
}
