//! `agency-node dataset check` and `dataset map`: what a table says to a job, before one runs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use tributary_job::JobSpec;
use tributary_training::Assets;

use crate::data_dir::DataDir;
use crate::records::Records;
use crate::storage::DatasetRow;

/// What is to be checked.
pub(super) struct Check<'a> {
    pub(super) name: &'a str,
    pub(super) job: &'a Path,
    /// Another mapping than the stored one.
    pub(super) mapping: Option<&'a Path>,
    /// Whether cells that are in no list are shown.
    pub(super) codes: bool,
    /// Public files that a job may name.
    pub(super) assets: Assets,
}

/// Reads the table as the job describes it and prints what it says.
pub(super) fn check(datasets: &[DatasetRow], check: &Check<'_>) -> anyhow::Result<()> {
    let name = check.name;
    let mut row = find(datasets, name)?.clone();
    if let Some(file) = check.mapping {
        row.source.mapping = Some(read_mapping(file)?);
    }
    let text = std::fs::read_to_string(check.job)
        .with_context(|| format!("reading the job file {}", check.job.display()))?;
    let spec = JobSpec::from_toml(&text)?;
    if spec.dataset != name {
        bail!("job {} asks for dataset {}, not {name}", spec.name, spec.dataset);
    }
    let wrong = || format!("{}, read as job {} describes it", row.path, spec.name);
    let records = Records::of(&row).map_err(anyhow::Error::msg).with_context(wrong)?;
    let start = Instant::now();
    if spec.data.text.is_some() {
        let data = records.load_strict(&spec.data, &check.assets).with_context(wrong)?;
        println!("{name} fits job {}: {} windows of text", spec.name, data.len());
        println!("{}", cost(start.elapsed().as_secs_f64()));
        return Ok(());
    }
    let report = records.report(&spec.data).with_context(wrong)?;
    println!("{name} ({}), read as job {} describes it", records.description(), spec.name);
    println!("This report is about your records: it is for you alone and was sent nowhere.\n");
    print!("{}", report.shown(check.codes));
    println!("{}", cost(start.elapsed().as_secs_f64()));
    let used = report.used;
    report.verdict().with_context(wrong)?;
    println!("\n{name} fits job {}: {used} rows", spec.name);
    Ok(())
}

/// Stores another mapping for a registered dataset, if it fits the file.
pub(super) async fn map(dir: &DataDir, name: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let storage = dir.storage().await?;
    let mut row = find(&storage.datasets().await?, name)?.clone();
    row.source.mapping = file.map(read_mapping).transpose()?;
    let records = Records::of(&row).map_err(anyhow::Error::msg)?;
    let rows = records.check().with_context(|| format!("the mapping of {name} stays as it was"))?;
    storage.set_mapping(name, row.source.mapping.as_deref()).await?;
    println!("{name}: {}, {rows} rows", records.description());
    Ok(())
}

/// The text of a mapping file.
pub(super) fn read_mapping(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading the mapping {}", file.display()))
}

fn find<'a>(datasets: &'a [DatasetRow], name: &str) -> anyhow::Result<&'a DatasetRow> {
    let found = datasets.iter().find(|d| d.name == name);
    found.with_context(|| format!("no dataset {name} is registered; see `dataset list`"))
}

/// What reading took: seconds, and the most memory that this process had at a time, where the system
/// says.
fn cost(seconds: f64) -> String {
    let status = std::fs::read_to_string(PathBuf::from("/proc/self/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    match peak {
        Some(kib) => {
            format!("read in {seconds:.1} s; at most {} MiB of memory", kib.div_ceil(1024))
        }
        None => format!("read in {seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Source;

    fn registered(path: &Path, source: Source) -> [DatasetRow; 1] {
        let path = path.to_str().unwrap().into();
        [DatasetRow { name: "d".into(), path, declared_records: 10, content: None, source }]
    }

    #[test]
    fn a_check_says_line_and_column_of_what_the_daemon_would_leave_out() {
        let dir = tempfile::tempdir().unwrap();
        let (table, job) = (dir.path().join("t.csv"), dir.path().join("job.toml"));
        std::fs::write(&job, crate::fixtures::JOB).unwrap();
        let rows = registered(&table, Source::default());
        let of =
            |name| Check { name, job: &job, mapping: None, codes: false, assets: Assets::none() };
        let verdict = |text: &str| {
            std::fs::write(&table, text).unwrap();
            check(&rows, &of("d")).map_err(|e| format!("{e:#}"))
        };
        verdict("x,y\n1,0\n2,1\n").unwrap();
        for (text, words) in [
            ("x,y\n1,0\nNaN,1\n", ["line 3", "\"x\""]),
            ("x,y\n1,0\n2,maybe\n", ["line 3", "\"y\""]),
            ("x,y\n1,0\n2\n", ["line 3", "1 cells"]),
            ("z,y\n1,0\n", ["no column", "\"x\""]),
        ] {
            let error = verdict(text).unwrap_err();
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        }
        assert!(check(&rows, &of("e")).is_err());
    }

    #[test]
    fn another_mapping_can_be_tried_before_it_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("job.toml"), crate::fixtures::JOB).unwrap();
        std::fs::write(path("t.csv"), "wert,krank\n1,ja\n2,nein\n").unwrap();
        let mapping = "[columns.x]\nfrom = \"wert\"\n[columns.y]\nfrom = \"krank\"\n\
                       values = { ja = \"1\", nein = \"0\" }";
        std::fs::write(path("m.toml"), mapping).unwrap();
        let rows = registered(&path("t.csv"), Source::default());
        let (job, file) = (path("job.toml"), path("m.toml"));
        let with =
            |mapping| Check { name: "d", job: &job, mapping, codes: true, assets: Assets::none() };
        assert!(check(&rows, &with(None)).is_err());
        check(&rows, &with(Some(&file))).unwrap();
        std::fs::write(path("m.toml"), mapping.replace("wert", "wirt")).unwrap();
        let error = format!("{:#}", check(&rows, &with(Some(&file))).unwrap_err());
        assert!(error.contains("columns.x") && error.contains("\"wert\" meant?"), "{error}");
    }

    #[tokio::test]
    async fn a_mapping_is_stored_if_it_fits_the_file() {
        let (root, dir) = crate::fixtures::enrolled();
        let (table, file) = (root.path().join("t.csv"), root.path().join("m.toml"));
        std::fs::write(&table, "wert,y\n1,0\n").unwrap();
        let [row] = registered(&table, Source::default());
        dir.storage().await.unwrap().add_dataset(&row, None).await.unwrap();
        std::fs::write(&file, "[columns.x]\nfrom = \"wert\"").unwrap();
        map(&dir, "d", Some(&file)).await.unwrap();
        let stored = || async { dir.storage().await.unwrap().datasets().await.unwrap().remove(0) };
        assert!(stored().await.source.mapping.unwrap().contains("wert"));
        std::fs::write(&file, "[columns.x]\nfrom = \"nichts\"").unwrap();
        let error = format!("{:#}", map(&dir, "d", Some(&file)).await.unwrap_err());
        assert!(error.contains("stays as it was") && error.contains("columns.x"), "{error}");
        assert!(stored().await.source.mapping.unwrap().contains("wert"));
        map(&dir, "d", None).await.unwrap();
        assert_eq!(stored().await.source, Source::default());
        assert!(map(&dir, "e", None).await.is_err());
    }
}
