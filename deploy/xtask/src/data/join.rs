//! From a flight to a row: schedule, weather of the hour before, aircraft, label, split.

use std::collections::HashMap;

use super::calendar::{Date, previous_hour};
use super::columns::LATE_AFTER_MINUTES;
use super::tables::{Airport, Flight, Plane, Tables, Weather};

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The carrier's own training table.
    Train,
    /// The common test table.
    Test,
}

impl Split {
    /// Every fifth day of the year is held out: `day_of_year % 5 == 4`. Whole days, because the
    /// flights of one day share its weather and its congestion.
    pub fn of(date: Date) -> Self {
        if date.day_of_year() % 5 == 4 { Self::Test } else { Self::Train }
    }
}

/// The carriers with most flights, most first; equal numbers in order of the code.
pub fn largest_carriers(flights: &[Flight], count: usize) -> Vec<String> {
    let mut flown: HashMap<&str, u64> = HashMap::new();
    for flight in flights {
        *flown.entry(&flight.carrier).or_default() += 1;
    }
    let mut order: Vec<_> = flown.into_iter().collect();
    order.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    order.into_iter().take(count).map(|(carrier, _)| carrier.to_owned()).collect()
}

/// What has to be counted over all flights before rows can be made: how full the schedule is.
/// Cancelled flights count, because the schedule does not know of them.
#[derive(Debug)]
pub struct Congestion<'a> {
    hours: HashMap<(&'a str, Date, u16), u32>,
    days: HashMap<(&'a str, Date), u32>,
}

impl<'a> Congestion<'a> {
    /// Counts the schedule of all carriers.
    pub fn count(flights: &'a [Flight]) -> Self {
        let (mut hours, mut days) = (HashMap::new(), HashMap::new());
        for flight in flights {
            let hour = flight.departure / 60;
            *hours.entry((flight.origin.as_str(), flight.date, hour)).or_insert(0) += 1;
            *days.entry((flight.origin.as_str(), flight.date)).or_insert(0) += 1;
        }
        Self { hours, days }
    }
}

/// The cells of a flight in the order of [`super::columns::COLUMNS`]; none if it was cancelled or
/// diverted and so has no arrival delay. Missing values are empty cells.
pub fn row(flight: &Flight, tables: &Tables, congestion: &Congestion<'_>) -> Option<Vec<String>> {
    let late = flight.arrival_delay? > LATE_AFTER_MINUTES;
    let hour = flight.departure / 60;
    let (day_before, hour_before) = previous_hour(flight.date, hour as u8);
    let no_weather = Weather::default();
    let weather = tables
        .weather
        .get(&(flight.origin.clone(), day_before, hour_before))
        .unwrap_or(&no_weather);
    let no_plane = Plane::default();
    let plane = tables.planes.get(&flight.tail).unwrap_or(&no_plane);
    let age = plane.year.and_then(|made| flight.date.year.checked_sub(made));
    let origin = flight.origin.as_str();
    let in_hour = congestion.hours.get(&(origin, flight.date, hour)).copied();
    let on_day = congestion.days.get(&(origin, flight.date)).copied();
    Some(vec![
        flight.carrier.clone(),
        flight.date.month.to_string(),
        flight.date.day_of_week().to_string(),
        hour.to_string(),
        flight.departure.to_string(),
        flight.origin.clone(),
        flight.dest.clone(),
        flight.distance.to_string(),
        or_empty(block_minutes(flight, &tables.airports)),
        or_empty(in_hour),
        or_empty(on_day),
        weather.temp.clone(),
        weather.dewp.clone(),
        weather.humid.clone(),
        weather.wind_sector.to_owned(),
        weather.wind_speed.clone(),
        weather.wind_gust.clone(),
        weather.precip.clone(),
        weather.pressure.clone(),
        weather.visib.clone(),
        or_empty(age),
        plane.seats.clone(),
        plane.engines.clone(),
        plane.engine.clone(),
        if late { "1" } else { "0" }.to_owned(),
    ])
}

/// Scheduled minutes from gate to gate: the difference of the local times, corrected for the
/// difference of the two clocks on the day of departure, in `[0, 1440)`.
fn block_minutes(flight: &Flight, airports: &HashMap<String, Airport>) -> Option<i32> {
    let summer = flight.date.us_daylight_saving();
    let offset = |code: &str| {
        let airport = airports.get(code)?;
        Some(airport.utc_offset + if summer && airport.daylight_saving { 60 } else { 0 })
    };
    let clocks = offset(&flight.dest)? - offset(&flight.origin)?;
    let local = i32::from(flight.arrival) - i32::from(flight.departure);
    Some((local - clocks).rem_euclid(1440))
}

fn or_empty(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(origin: &str, dest: &str, month: u8, departure: u16, arrival: u16) -> Flight {
        Flight {
            date: Date { year: 2013, month, day: 15 },
            departure,
            arrival,
            arrival_delay: Some(0),
            carrier: "UA".into(),
            tail: String::new(),
            origin: origin.into(),
            dest: dest.into(),
            distance: 100,
        }
    }

    #[test]
    fn block_times_cross_time_zones_and_midnight() {
        let airport = |hours, daylight_saving| Airport { utc_offset: hours * 60, daylight_saving };
        let airports = HashMap::from([
            ("JFK".to_owned(), airport(-5, true)),
            ("SFO".to_owned(), airport(-8, true)),
            ("PHX".to_owned(), airport(-7, false)),
        ]);
        // 18:00 to 21:30 three hours behind: 6 h 30 min; 22:00 to 01:25: past midnight.
        assert_eq!(block_minutes(&flight("JFK", "SFO", 1, 1080, 1290), &airports), Some(390));
        assert_eq!(block_minutes(&flight("JFK", "SFO", 1, 1320, 85), &airports), Some(385));
        // Arizona is two hours behind in winter and three in summer.
        assert_eq!(block_minutes(&flight("JFK", "PHX", 1, 600, 780), &airports), Some(300));
        assert_eq!(block_minutes(&flight("JFK", "PHX", 7, 600, 720), &airports), Some(300));
        assert_eq!(block_minutes(&flight("JFK", "???", 7, 600, 720), &airports), None);
    }

    #[test]
    fn every_fifth_day_is_held_out() {
        let split = |month, day| Split::of(Date { year: 2013, month, day });
        assert_eq!(split(1, 4), Split::Test);
        assert_eq!(split(1, 5), Split::Train);
        assert_eq!(split(1, 9), Split::Test);
        assert_eq!(split(2, 3), Split::Test);
    }

    #[test]
    fn ties_between_carriers_are_broken_by_code() {
        let mut flights = vec![flight("JFK", "SFO", 1, 0, 0); 4];
        for (flight, carrier) in flights.iter_mut().zip(["B", "A", "C", "C"]) {
            flight.carrier = carrier.into();
        }
        assert_eq!(largest_carriers(&flights, 2), ["C", "A"]);
    }
}
