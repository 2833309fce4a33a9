//! Tables of agencies in memory on their way to disk: training rows by agency, held-out rows by
//! agency and all together.

use std::path::Path;

use crate::data::DataDir;
use crate::error::{SimulationError, make_folder, write_file};

/// Name of an agency's own held-out table, beside its `train.csv`.
pub const SITE_TEST: &str = "test.csv";

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its agency trains on it.
    Train,
    /// It measures.
    Test,
    /// Nowhere.
    Unused,
}

/// Rows by agency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    header: String,
    /// Agency, training rows, held-out rows.
    silos: Vec<(String, Rows, Rows)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rows {
    text: String,
    count: usize,
}

impl Tables {
    /// Empty tables with a header line.
    pub fn new<S: Into<String>>(agencies: impl IntoIterator<Item = S>, header: &str) -> Self {
        let silos = agencies.into_iter().map(|a| (a.into(), Rows::default(), Rows::default()));
        Self { header: header.to_owned(), silos: silos.collect() }
    }

    /// Adds a row; rows of no agency go nowhere.
    pub fn push(&mut self, silo: usize, place: Place, row: &str) {
        let Some((_, train, test)) = self.silos.get_mut(silo) else { return };
        let rows = match place {
            Place::Train => train,
            Place::Test => test,
            Place::Unused => return,
        };
        rows.text.push_str(row);
        rows.text.push('\n');
        rows.count += 1;
    }

    /// Training and held-out rows of each agency.
    pub fn sizes(&self) -> Vec<(usize, usize)> {
        self.silos.iter().map(|(_, train, test)| (train.count, test.count)).collect()
    }

    /// Writes `<agency>/train.csv`, `<agency>/test.csv` and `test.csv` with all held-out rows.
    ///
    /// # Errors
    /// From the file system, or if an agency has nothing to train on or nothing is held out.
    pub fn write(&self, root: &Path) -> Result<DataDir, SimulationError> {
        let dir = DataDir::new(root);
        let mut all = format!("{}\n", self.header);
        for ((agency, train, test), (trained, held_out)) in self.silos.iter().zip(self.sizes()) {
            if trained == 0 || held_out == 0 {
                return Err(SimulationError::Data(format!(
                    "{agency} has {trained} rows to train on and {held_out} held out: both are \
                     needed"
                )));
            }
            let folder = root.join(agency);
            make_folder(&folder)?;
            let table = |rows: &Rows| format!("{}\n{}", self.header, rows.text);
            write_file(&dir.train(agency), table(train).as_bytes())?;
            write_file(&folder.join(SITE_TEST), table(test).as_bytes())?;
            all += &test.text;
        }
        write_file(&dir.test(), all.as_bytes())?;
        Ok(dir)
    }
}

/// A raw file that is not as expected; lines count from 1 in the message.
pub fn refuse(path: &Path, line: usize, what: &str) -> SimulationError {
    SimulationError::Data(format!("{}: line {} {what}", path.display(), line + 1))
}
