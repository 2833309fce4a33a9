//! The tables inside the source archive (a gzipped tar; one table is zipped once more).

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use zip::ZipArchive;

/// The source tables as CSV text.
#[derive(Debug, Default)]
pub struct Source {
    /// One row per scheduled flight.
    pub flights: Vec<u8>,
    /// One row per airport and hour.
    pub weather: Vec<u8>,
    /// One row per aircraft.
    pub planes: Vec<u8>,
    /// One row per airport.
    pub airports: Vec<u8>,
}

/// Reads the four tables out of the archive, whose digest has been verified.
pub fn read(archive: &Path) -> Result<Source> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut source = Source::default();
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    for entry in tar.entries().context("the source archive is damaged")? {
        let mut entry = entry.context("the source archive is damaged")?;
        let path = entry.path().context("the source archive is damaged")?.into_owned();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let table = match name {
            "flights.csv.zip" => &mut source.flights,
            "weather.csv" => &mut source.weather,
            "planes.csv" => &mut source.planes,
            "airports.csv" => &mut source.airports,
            _ => continue,
        };
        let name = name.to_owned();
        entry.read_to_end(table).with_context(|| format!("cannot read {name}"))?;
    }
    source.flights = unzip(std::mem::take(&mut source.flights))?;
    Ok(source)
}

fn unzip(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).context("flights.csv.zip is damaged")?;
    let mut table = zip.by_name("flights.csv").context("flights.csv.zip has no flights.csv")?;
    let mut text = Vec::new();
    table.read_to_end(&mut text).context("cannot unpack flights.csv")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn tables_come_out_of_a_nested_archive() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("flights.csv", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"F").unwrap();
        let zipped = zip.finish().unwrap().into_inner();

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.tar.gz");
        let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), Default::default());
        let mut tar = tar::Builder::new(gzip);
        let files: [(&str, &[u8]); 4] = [
            ("p/data/flights.csv.zip", &zipped),
            ("p/data/weather.csv", b"W"),
            ("p/data/planes.csv", b"P"),
            ("p/data/airports.csv", b"A"),
        ];
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();

        let source = read(&path).unwrap();
        assert_eq!((&source.flights[..], &source.weather[..]), (&b"F"[..], &b"W"[..]));
        assert_eq!((&source.planes[..], &source.airports[..]), (&b"P"[..], &b"A"[..]));
    }
}
