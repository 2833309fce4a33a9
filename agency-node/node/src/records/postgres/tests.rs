//! Against a server of this machine's own PostgreSQL, started for the test and thrown away.
//!
//! Where there is none, the tests say so and pass; with `TRIBUTARY_REQUIRE_POSTGRES` set they fail.

#![cfg(unix)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;
use crate::records::{Kind, Records};

/// A running server, reached through a socket in its directory.
struct Server {
    dir: tempfile::TempDir,
    bin: PathBuf,
}

impl Server {
    /// `None`, loudly, where PostgreSQL is not installed.
    fn start() -> Option<Self> {
        let Some(bin) = binaries() else {
            let required = std::env::var_os("TRIBUTARY_REQUIRE_POSTGRES").is_some();
            assert!(!required, "no PostgreSQL server programs (initdb, pg_ctl) on this machine");
            println!("skipped: no PostgreSQL server programs (initdb, pg_ctl) on this machine");
            return None;
        };
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let server = Self { dir, bin };
        // PostgreSQL does not run as root.
        if is_root() {
            server.run("chown", &["-R", "postgres", server.path("").to_str().unwrap()], false);
        }
        let data = server.path("data").to_str().unwrap().to_owned();
        let initdb = server.bin.join("initdb").to_str().unwrap().to_owned();
        server.run(
            &initdb,
            &["-D", &data, "-A", "trust", "-U", "owner", "-E", "UTF8", "--locale=C", "-N"],
            true,
        );
        let options = format!("-k {} -c listen_addresses= -c fsync=off", server.path("").display());
        let log = server.path("log").to_str().unwrap().to_owned();
        let ctl = server.bin.join("pg_ctl").to_str().unwrap().to_owned();
        server.run(&ctl, &["-D", &data, "-l", &log, "-o", &options, "-w", "start"], true);
        Some(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program, as the user `postgres` where this is root.
    fn run(&self, program: &str, arguments: &[&str], as_postgres: bool) {
        let mut command = match as_postgres && is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
                command
            }
            false => Command::new(program),
        };
        command.args(arguments).current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status().unwrap();
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }

    fn sql(&self, sql: &str) {
        let psql = self.bin.join("psql").to_str().unwrap().to_owned();
        let host = self.dir.path().to_str().unwrap().to_owned();
        self.run(
            &psql,
            &[
                "-qX",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                &host,
                "-U",
                "owner",
                "-d",
                "postgres",
                "-c",
                sql,
            ],
            true,
        );
    }

    /// Writes a configuration and opens it.
    fn records(&self, query: &str, more: &str) -> Records {
        let path = self.path("query.toml");
        let socket = self.dir.path().to_str().unwrap();
        let text = format!(
            "socket = {socket:?}\ntls = \"off\"\ndatabase = \"postgres\"\nuser = \"owner\"\n\
             query = {query:?}\nfetch_rows = 3\n"
        );
        std::fs::write(&path, text).unwrap();
        Records::new(path, Kind::parse("postgres").unwrap(), Some(more)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.path("data").to_str().unwrap().to_owned();
        let ctl = self.bin.join("pg_ctl").to_str().unwrap().to_owned();
        self.run(&ctl, &["-D", &data, "-m", "immediate", "-w", "stop"], true);
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// Where `initdb`, `pg_ctl` and `psql` are.
fn binaries() -> Option<PathBuf> {
    let of_versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = of_versions.map(|version| version.path().join("bin")).collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.into_iter().find(|p| ["initdb", "pg_ctl", "psql"].iter().all(|b| p.join(b).is_file()))
}

fn spec() -> tributary_job::spec::DataSpec {
    tributary_job::JobSpec::from_toml(crate::fixtures::JOB).unwrap().data
}

#[test]
fn a_query_is_a_table_and_can_do_nothing_else() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE t (id int, x numeric(8,3), ill boolean, day date, r real, s text); \
         INSERT INTO t SELECT i, i / 8.0, i % 2 = 0, date '2020-02-27' + i, i * 0.1, ' a ' \
         FROM generate_series(1, 10) AS i; INSERT INTO t (id) VALUES (11);",
    );
    let mapping =
        "[columns.x]\n[columns.y]\nfrom = \"ill\"\nvalues = { true = \"1\", false = \"0\" }";
    let query = "SELECT id, x, ill, day, r, s FROM t ORDER BY id";
    let records = server.records(query, mapping);
    assert_eq!(records.check().unwrap(), 11);
    let (data, skipped) = records.load(&spec(), &tributary_training::Assets::none()).unwrap();
    assert_eq!((data.len(), skipped.unknown_labels), (10, 1));
    assert_eq!(data.labels(&[0, 1]), [0.0, 1.0]);
    let mut table = Query::open(&server.path("query.toml")).unwrap();
    assert_eq!(table.names().unwrap(), ["id", "x", "ill", "day", "r", "s"]);
    table.select(&["x".into(), "day".into(), "r".into(), "s".into()]).unwrap();
    let mut row = Row::default();
    assert!(table.next(&mut row).unwrap());
    let mut scratch = Vec::new();
    let cells: Vec<String> = (0..4)
        .map(|i| String::from_utf8(row.cell(i).text(&mut scratch).to_vec()).unwrap())
        .collect();
    assert_eq!(cells, ["0.125", "2020-02-28", "0.1", "a"]);
    // Left before the end: the connection goes with the table.
    drop(table);
    let error = |query: &str| server.records(query, mapping).check().unwrap_err().to_string();
    let missing = error("SELECT id, ill FROM t");
    assert!(missing.contains("columns.x"), "{missing}");
    let twice = error("SELECT x, x, ill FROM t");
    assert!(twice.contains("two columns \"x\""), "{twice}");
    for (query, words) in [
        ("SELECT x, ill FROM t; DROP TABLE t", "42601"),
        ("DELETE FROM t RETURNING x, ill", "SQLSTATE"),
        ("SELECT x, ill FROM nowhere", "nowhere"),
        ("WITH gone AS (DELETE FROM t RETURNING x, ill) SELECT x, ill FROM gone", "SQLSTATE"),
        ("SELECT 'secret'::text::int AS x, 1 AS ill", "SQLSTATE 22P02"),
    ] {
        let error = error(query);
        assert!(error.contains(words), "{query}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert_eq!(server.records(query, mapping).check().unwrap(), 11, "nothing is gone");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("query.toml");
    let text = "host = \"127.0.0.1\"\nport = 1\ntls = \"off\"\ndatabase = \"d\"\nuser = \"u\"\nquery = \"select 1\"";
    std::fs::write(&path, text).unwrap();
    let error = Query::open(&path).err().unwrap().to_string();
    assert!(error.contains("query.toml") && error.contains("connecting"), "{error}");
}
