//! Writing the silos, the test table and the dictionary of columns.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use csv::Writer;

use super::columns::COLUMNS;
use super::join::{Congestion, Split, row};
use super::tables::Tables;
use crate::support::interrupt;

/// Rows written.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// Training rows, in the order of the carriers.
    pub train: Vec<u64>,
    /// Test rows of all carriers together.
    pub test: u64,
}

/// Writes `<carrier>/train.csv` for each carrier (folder in lower case), `test.csv` with the
/// held-out days of all of them, and `dictionary.csv`. Rows keep the order of the source.
pub fn write(tables: &Tables, carriers: &[String], out: &Path) -> Result<Counts> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    dictionary(&out.join("dictionary.csv"))?;
    let mut test = create(&out.join("test.csv"))?;
    let mut train = Vec::new();
    for carrier in carriers {
        let dir = out.join(carrier.to_ascii_lowercase());
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        train.push((carrier, create(&dir.join("train.csv"))?, 0_u64));
    }
    let congestion = Congestion::count(&tables.flights);
    let mut test_rows = 0;
    for flight in &tables.flights {
        interrupt::check()?;
        let Some((_, silo, rows)) = train.iter_mut().find(|(c, ..)| **c == flight.carrier) else {
            continue;
        };
        let Some(cells) = row(flight, tables, &congestion) else { continue };
        match Split::of(flight.date) {
            Split::Test => {
                test.write_record(&cells).context("cannot write test.csv")?;
                test_rows += 1;
            }
            Split::Train => {
                silo.write_record(&cells).context("cannot write train.csv")?;
                *rows += 1;
            }
        }
    }
    test.flush().context("cannot write test.csv (is the disk full?)")?;
    for (_, silo, _) in &mut train {
        silo.flush().context("cannot write train.csv (is the disk full?)")?;
    }
    Ok(Counts { train: train.into_iter().map(|(_, _, rows)| rows).collect(), test: test_rows })
}

fn create(path: &Path) -> Result<Writer<File>> {
    let mut writer =
        Writer::from_path(path).with_context(|| format!("cannot create {}", path.display()))?;
    writer
        .write_record(COLUMNS.iter().map(|column| column.name))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(writer)
}

fn dictionary(path: &Path) -> Result<()> {
    let mut writer =
        Writer::from_path(path).with_context(|| format!("cannot create {}", path.display()))?;
    writer.write_record(["column", "meaning", "known before departure because"])?;
    for column in COLUMNS {
        writer.write_record([column.name, column.meaning, column.known])?;
    }
    writer.flush().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::archive::Source;
    use super::super::columns::{AFTER_THE_FACT, LABEL};
    use super::super::{join, manifest};
    use super::*;

    const FLIGHT_HEADER: &str = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,\
        sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute";

    /// Two days: 3 January is day 3 (training), 4 January is day 4 (test). The after-the-fact
    /// cells are numbers that occur nowhere else.
    fn source() -> Source {
        let flights = [
            FLIGHT_HEADER,
            "2013,1,3,77701,800,77702,77703,1115,16,UA,1,N1,JFK,SFO,77704,2586,8,0",
            "2013,1,3,77701,859,77702,77703,1115,15,B6,2,N2,JFK,SJU,77704,1598,8,59",
            "2013,1,3,NA,815,NA,NA,1115,NA,UA,3,N1,JFK,SFO,NA,2586,8,15",
            "2013,1,3,77701,900,77702,77703,1115,-9,UA,4,NA,JFK,XXX,77704,9,9,0",
            "2013,1,4,77701,800,77702,77703,1115,99,UA,5,N1,JFK,SFO,77704,2586,8,0",
            "2013,1,3,77701,805,77702,77703,1115,99,ZZ,6,N1,JFK,SFO,77704,2586,8,5",
            "2013,1,3,77701,600,77702,77703,1115,5,UA,7,N1,EWR,SFO,77704,2565,6,0",
        ];
        let weather = "origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,\
            precip,pressure,visib\n\
            JFK,2013,1,3,7,30.5,20,60,270,11,NA,0,1012,10\n\
            JFK,2013,1,3,8,88,88,88,90,88,88,88,88,88\n";
        let planes = "tailnum,year,seats,engines,engine\nN1,2003,150,2,Turbo-fan\n\
            N2,NA,200,2,Turbo-fan\n";
        let airports = "faa,tz,dst\nJFK,-5,A\nSFO,-8,A\nEWR,-5,A\n";
        Source {
            flights: flights.join("\n").into_bytes(),
            weather: weather.into(),
            planes: planes.into(),
            airports: airports.into(),
        }
    }

    fn prepared(dir: &Path) -> (Tables, Counts) {
        let tables = Tables::parse(&source()).unwrap();
        let carriers = join::largest_carriers(&tables.flights, 2);
        assert_eq!(carriers, ["UA", "B6"]);
        let counts = write(&tables, &carriers, dir).unwrap();
        (tables, counts)
    }

    fn cells(path: &Path, row: usize, names: &[&str]) -> Vec<String> {
        let mut reader = csv::Reader::from_path(path).unwrap();
        let header = reader.headers().unwrap().clone();
        let record = reader.records().nth(row).unwrap().unwrap();
        let cell = |name: &&str| record[header.iter().position(|h| h == *name).unwrap()].to_owned();
        names.iter().map(cell).collect()
    }

    #[test]
    fn joins_labels_and_splits() {
        let dir = tempfile::tempdir().unwrap();
        let (_, counts) = prepared(dir.path());
        // Of UA the cancelled flight is dropped and the one of 4 January is held out.
        assert_eq!(counts, Counts { train: vec![3, 1], test: 1 });
        let ua = dir.path().join("ua/train.csv");
        let names = ["late", "day_of_week", "hour", "minute_of_day", "temp", "wind_sector"];
        assert_eq!(cells(&ua, 0, &names), ["1", "4", "8", "480", "30.5", "W"]);
        let names = ["block_minutes", "plane_age", "seats", "engine", "wind_gust"];
        assert_eq!(cells(&ua, 0, &names), ["375", "10", "150", "Turbo-fan", ""]);
        // Fifteen minutes is not yet late; San Juan is one hour ahead.
        let b6 = dir.path().join("b6/train.csv");
        assert_eq!(cells(&b6, 0, &["late", "block_minutes", "plane_age"]), ["0", "76", ""]);
        let test = dir.path().join("test.csv");
        assert_eq!(cells(&test, 0, &["carrier", "late", "temp"]), ["UA", "1", ""]);
    }

    #[test]
    fn congestion_counts_the_whole_schedule() {
        let dir = tempfile::tempdir().unwrap();
        prepared(dir.path());
        // 8 o'clock at JFK on 3 January: UA 1, B6 2, the cancelled UA 3 and the foreign ZZ 6.
        let names = ["origin_hour_flights", "origin_day_flights"];
        assert_eq!(cells(&dir.path().join("ua/train.csv"), 0, &names), ["4", "5"]);
    }

    #[test]
    fn missing_values_are_empty_cells() {
        let dir = tempfile::tempdir().unwrap();
        prepared(dir.path());
        let ua = dir.path().join("ua/train.csv");
        // Unknown tail and destination; the weather of 8 o'clock belongs to 9 o'clock departures.
        let names = ["plane_age", "seats", "block_minutes", "temp"];
        assert_eq!(cells(&ua, 1, &names), ["", "", "", "88"]);
        // No weather row at Newark.
        assert_eq!(cells(&ua, 2, &["origin", "temp", "wind_sector"]), ["EWR", "", ""]);
    }

    #[test]
    fn nothing_after_the_fact_leaks() {
        let dir = tempfile::tempdir().unwrap();
        prepared(dir.path());
        for file in ["ua/train.csv", "b6/train.csv", "test.csv"] {
            let text = fs::read_to_string(dir.path().join(file)).unwrap();
            assert!(!text.contains("7770"), "{file} carries an after-the-fact value");
            let header = text.lines().next().unwrap();
            let names: Vec<_> = header.split(',').collect();
            assert!(AFTER_THE_FACT.iter().all(|name| !names.contains(name)), "{header}");
            assert_eq!(names.iter().filter(|name| **name == LABEL).count(), 1);
        }
    }

    #[test]
    fn changed_outcomes_change_only_the_label() {
        let dir = tempfile::tempdir().unwrap();
        prepared(&dir.path().join("a"));
        let mut source = source();
        let text = String::from_utf8(source.flights).unwrap();
        let outcomes = [("77701", "1"), ("77702", "2"), ("77703", "3"), ("77704", "4")];
        let changed = outcomes.iter().fold(text, |text, (old, new)| text.replace(old, new));
        source.flights = changed.replace(",16,UA", ",-1,UA").into_bytes();
        let tables = Tables::parse(&source).unwrap();
        write(&tables, &["UA".into(), "B6".into()], &dir.path().join("b")).unwrap();
        let read =
            |side: &str, file: &str| fs::read_to_string(dir.path().join(side).join(file)).unwrap();
        assert_eq!(read("a", "b6/train.csv"), read("b", "b6/train.csv"));
        assert_eq!(read("a", "test.csv"), read("b", "test.csv"));
        let before = read("a", "ua/train.csv");
        let first = before.lines().nth(1).unwrap();
        let flipped = format!("{}0", first.strip_suffix('1').unwrap());
        assert_eq!(before.replacen(first, &flipped, 1), read("b", "ua/train.csv"));
    }

    #[test]
    fn the_output_is_deterministic() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = ["a", "b"].map(|side| {
            prepared(&dir.path().join(side));
            manifest::write(&dir.path().join(side)).unwrap()
        });
        assert_eq!(manifests[0], manifests[1]);
    }

    #[test]
    fn a_missing_column_is_named() {
        let source = Source { planes: b"tailnum,year\n".to_vec(), ..source() };
        let error = Tables::parse(&source).unwrap_err().to_string();
        assert!(error.contains("planes.csv") && error.contains("seats"), "{error}");
    }
}
