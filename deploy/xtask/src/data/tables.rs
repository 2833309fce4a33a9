//! The source tables, parsed. Of a flight only the schedule and the arrival delay are read: the
//! other after-the-fact columns cannot leak because they never enter memory as values.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::archive::Source;
use super::calendar::Date;
use super::fields::Table;

/// All four tables.
#[derive(Debug)]
pub struct Tables {
    /// Flights in the order of the source.
    pub flights: Vec<Flight>,
    /// Weather by airport, date and hour; the first row wins where the clock was set back.
    pub weather: HashMap<(String, Date, u8), Weather>,
    /// Aircraft by tail number.
    pub planes: HashMap<String, Plane>,
    /// Airports by FAA code.
    pub airports: HashMap<String, Airport>,
}

/// A scheduled flight.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Local day of the scheduled departure.
    pub date: Date,
    /// Scheduled departure, minutes since midnight at the origin.
    pub departure: u16,
    /// Scheduled arrival, minutes since midnight at the destination.
    pub arrival: u16,
    /// Arrival delay in minutes; none if the flight was cancelled or diverted.
    pub arrival_delay: Option<i32>,
    /// IATA code of the carrier.
    pub carrier: String,
    /// Tail number, empty if unknown.
    pub tail: String,
    /// Origin.
    pub origin: String,
    /// Destination.
    pub dest: String,
    /// Miles.
    pub distance: u32,
}

/// An hour's weather: the source's text, empty where missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Degrees F.
    pub temp: String,
    /// Degrees F.
    pub dewp: String,
    /// Percent.
    pub humid: String,
    /// One of eight sectors, `calm`, or empty.
    pub wind_sector: &'static str,
    /// Miles per hour.
    pub wind_speed: String,
    /// Miles per hour.
    pub wind_gust: String,
    /// Inches.
    pub precip: String,
    /// Millibars.
    pub pressure: String,
    /// Miles.
    pub visib: String,
}

/// An aircraft.
#[derive(Debug, Clone, Default)]
pub struct Plane {
    /// Year in which it was made.
    pub year: Option<u16>,
    /// Seats.
    pub seats: String,
    /// Number of engines.
    pub engines: String,
    /// Type of engine.
    pub engine: String,
}

/// An airport's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Airport {
    /// Minutes that standard time is ahead of UTC.
    pub utc_offset: i32,
    /// Whether US daylight saving time is kept.
    pub daylight_saving: bool,
}

/// Airports of Puerto Rico and the Virgin Islands that the source's table lacks: Atlantic
/// standard time, no daylight saving.
const ATLANTIC: [&str; 4] = ["BQN", "PSE", "SJU", "STT"];

impl Tables {
    /// Parses the CSV text of all tables.
    pub fn parse(source: &Source) -> Result<Self> {
        Ok(Self {
            flights: flights(&source.flights)?,
            weather: weather(&source.weather)?,
            planes: planes(&source.planes)?,
            airports: airports(&source.airports)?,
        })
    }
}

fn flights(text: &[u8]) -> Result<Vec<Flight>> {
    let table = Table::open("flights.csv", text)?;
    let [year, month, day] = [table.column("year")?, table.column("month")?, table.column("day")?];
    let departure = table.column("sched_dep_time")?;
    let arrival = table.column("sched_arr_time")?;
    let delay = table.column("arr_delay")?;
    let [carrier, tail] = [table.column("carrier")?, table.column("tailnum")?];
    let [origin, dest] = [table.column("origin")?, table.column("dest")?];
    let distance = table.column("distance")?;
    let mut flights = Vec::new();
    table.for_each(|row| {
        flights.push(Flight {
            date: date(row.required(year)?, row.required(month)?, row.required(day)?)?,
            departure: clock(row.required(departure)?)?,
            arrival: clock(row.required(arrival)?)?,
            arrival_delay: row.optional(delay)?,
            carrier: row.text(carrier).to_owned(),
            tail: row.text(tail).to_owned(),
            origin: row.text(origin).to_owned(),
            dest: row.text(dest).to_owned(),
            distance: row.required(distance)?,
        });
        Ok(())
    })?;
    Ok(flights)
}

fn weather(text: &[u8]) -> Result<HashMap<(String, Date, u8), Weather>> {
    let table = Table::open("weather.csv", text)?;
    let origin = table.column("origin")?;
    let [year, month, day] = [table.column("year")?, table.column("month")?, table.column("day")?];
    let hour = table.column("hour")?;
    let [temp, dewp, humid] =
        [table.column("temp")?, table.column("dewp")?, table.column("humid")?];
    let [direction, speed, gust] =
        [table.column("wind_dir")?, table.column("wind_speed")?, table.column("wind_gust")?];
    let [precip, pressure, visib] =
        [table.column("precip")?, table.column("pressure")?, table.column("visib")?];
    let mut weather = HashMap::new();
    table.for_each(|row| {
        let date = date(row.required(year)?, row.required(month)?, row.required(day)?)?;
        let key = (row.text(origin).to_owned(), date, row.required(hour)?);
        weather.entry(key).or_insert(Weather {
            temp: row.text(temp).to_owned(),
            dewp: row.text(dewp).to_owned(),
            humid: row.text(humid).to_owned(),
            wind_sector: wind_sector(row.optional(direction)?),
            wind_speed: row.text(speed).to_owned(),
            wind_gust: row.text(gust).to_owned(),
            precip: row.text(precip).to_owned(),
            pressure: row.text(pressure).to_owned(),
            visib: row.text(visib).to_owned(),
        });
        Ok(())
    })?;
    Ok(weather)
}

fn planes(text: &[u8]) -> Result<HashMap<String, Plane>> {
    let table = Table::open("planes.csv", text)?;
    let [tail, year, seats] =
        [table.column("tailnum")?, table.column("year")?, table.column("seats")?];
    let [engines, engine] = [table.column("engines")?, table.column("engine")?];
    let mut planes = HashMap::new();
    table.for_each(|row| {
        let plane = Plane {
            year: row.optional(year)?,
            seats: row.text(seats).to_owned(),
            engines: row.text(engines).to_owned(),
            engine: row.text(engine).to_owned(),
        };
        planes.insert(row.text(tail).to_owned(), plane);
        Ok(())
    })?;
    Ok(planes)
}

fn airports(text: &[u8]) -> Result<HashMap<String, Airport>> {
    let table = Table::open("airports.csv", text)?;
    let [faa, tz, dst] = [table.column("faa")?, table.column("tz")?, table.column("dst")?];
    let atlantic = Airport { utc_offset: -240, daylight_saving: false };
    let mut airports: HashMap<_, _> =
        ATLANTIC.iter().map(|code| ((*code).to_owned(), atlantic)).collect();
    table.for_each(|row| {
        // Whole hours for every US airport; some abroad have none or a half.
        if let Some(hours) = row.optional::<f64>(tz)? {
            let utc_offset = (hours * 60.0) as i32;
            let airport = Airport { utc_offset, daylight_saving: row.text(dst) == "A" };
            airports.insert(row.text(faa).to_owned(), airport);
        }
        Ok(())
    })?;
    Ok(airports)
}

fn date(year: u16, month: u8, day: u8) -> Result<Date> {
    if (1..=12).contains(&month) && (1..=31).contains(&day) && (1900..=2100).contains(&year) {
        return Ok(Date { year, month, day });
    }
    bail!("{year}-{month}-{day} is no date")
}

/// Minutes since midnight of a time written as `hhmm` in a number: 517 is 05:17. 2400 is midnight.
fn clock(hhmm: u16) -> Result<u16> {
    let (hours, minutes) = (hhmm / 100, hhmm % 100);
    if hhmm <= 2400 && minutes < 60 {
        return Ok((hours * 60 + minutes) % 1440);
    }
    bail!("{hhmm} is no time of day")
}

/// The sector of a wind direction in degrees; 0 means calm (360 is north), none means variable.
fn wind_sector(degrees: Option<f64>) -> &'static str {
    const SECTORS: [&str; 8] = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
    match degrees {
        Some(degrees) if degrees > 0.0 && degrees <= 360.0 => {
            let sector = ((degrees + 22.5) / 45.0) as usize % SECTORS.len();
            SECTORS.get(sector).copied().unwrap_or_default()
        }
        Some(0.0) => "calm",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_dates() {
        assert_eq!(clock(517).unwrap(), 317);
        assert_eq!(clock(2400).unwrap(), 0);
        assert!(clock(1261).is_err() && clock(2459).is_err());
        assert!(date(2013, 13, 1).is_err());
    }

    #[test]
    fn wind_falls_into_eight_sectors() {
        for (degrees, sector) in
            [(10.0, "N"), (22.0, "N"), (23.0, "NE"), (90.0, "E"), (337.0, "NW"), (360.0, "N")]
        {
            assert_eq!(wind_sector(Some(degrees)), sector, "{degrees}");
        }
        assert_eq!((wind_sector(Some(0.0)), wind_sector(None)), ("calm", ""));
    }

    #[test]
    fn airports_without_a_clock_are_left_out() {
        let text = b"faa,tz,dst\nJFK,-5,A\nPHX,-7,N\nXXX,NA,U\n";
        let airports = airports(text).unwrap();
        assert_eq!(airports["JFK"], Airport { utc_offset: -300, daylight_saving: true });
        assert!(!airports["PHX"].daylight_saving && !airports.contains_key("XXX"));
        assert_eq!(airports["SJU"].utc_offset, -240);
    }
}
