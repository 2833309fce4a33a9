//! The columns of the prepared data, each with the reason why it is known before departure.
//!
//! This list is the only place that decides what a model may see. Departure delay, actual times,
//! air time and whatever follows from them are no columns: they exist only after the fact. The
//! label is the one exception, and it is the label.

/// A column of the prepared data.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name in the header.
    pub name: &'static str,
    /// What the cell holds, with its unit.
    pub meaning: &'static str,
    /// Why it is known before departure.
    pub known: &'static str,
}

/// Name of the label's column: `1` if the flight arrived more than 15 minutes late, else `0`.
pub const LABEL: &str = "late";

/// Minutes of arrival delay beyond which a flight counts as late.
pub const LATE_AFTER_MINUTES: i32 = 15;

/// Columns of the source that exist only after departure; none may appear in the output.
#[cfg(test)]
pub const AFTER_THE_FACT: [&str; 5] =
    ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"];

const SCHEDULE: &str = "published schedule";
const REGISTRY: &str = "aircraft registry; the tail is assigned before boarding";
const WEATHER: &str = "observed at the origin in the hour before the scheduled departure hour";

/// The columns, in the order of the file.
pub const COLUMNS: [Column; 25] = [
    column("carrier", "IATA code of the carrier", SCHEDULE),
    column("month", "1 to 12", SCHEDULE),
    column("day_of_week", "1 = Monday to 7 = Sunday", SCHEDULE),
    column("hour", "hour of the scheduled departure, local", SCHEDULE),
    column("minute_of_day", "scheduled departure in minutes since midnight, local", SCHEDULE),
    column("origin", "EWR, JFK or LGA", SCHEDULE),
    column("dest", "FAA code of the destination", SCHEDULE),
    column("distance", "miles", "fixed by origin and destination"),
    column("block_minutes", "scheduled minutes from gate to gate, time zones removed", SCHEDULE),
    column("origin_hour_flights", "flights scheduled from the origin in that hour", SCHEDULE),
    column("origin_day_flights", "flights scheduled from the origin on that day", SCHEDULE),
    column("temp", "temperature, degrees F", WEATHER),
    column("dewp", "dew point, degrees F", WEATHER),
    column("humid", "relative humidity, percent", WEATHER),
    column("wind_sector", "N, NE, E, SE, S, SW, W, NW or calm; empty if variable", WEATHER),
    column("wind_speed", "miles per hour", WEATHER),
    column("wind_gust", "miles per hour; empty if there were no gusts", WEATHER),
    column("precip", "precipitation, inches", WEATHER),
    column("pressure", "sea level pressure, millibars", WEATHER),
    column("visib", "visibility, miles", WEATHER),
    column("plane_age", "years since the aircraft was made", REGISTRY),
    column("seats", "seats of the aircraft", REGISTRY),
    column("engines", "number of engines", REGISTRY),
    column("engine", "type of engine", REGISTRY),
    column(LABEL, "1 if arrival was more than 15 minutes late, else 0", "it is not: the label"),
];

const fn column(name: &'static str, meaning: &'static str, known: &'static str) -> Column {
    Column { name, meaning, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_never_after_the_fact() {
        let names: std::collections::BTreeSet<_> = COLUMNS.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(AFTER_THE_FACT.iter().all(|name| !names.contains(name)));
        assert_eq!(COLUMNS.iter().filter(|c| c.known.contains("not")).count(), 1);
    }
}
