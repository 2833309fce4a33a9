//! Where the database is, who asks, and what: a TOML file of the agency's. It holds no password.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use tributary_transport::files;
use zeroize::Zeroizing;

/// A query and its connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Host name or address; or `socket`.
    pub host: Option<String>,
    /// Directory of the server's Unix socket.
    pub socket: Option<PathBuf>,
    /// Port.
    #[serde(default = "port")]
    pub port: u16,
    /// Database.
    pub database: String,
    /// A role that may read and nothing else.
    pub user: String,
    /// A file with the password that only its owner can read, relative to this file.
    pub password_file: Option<PathBuf>,
    /// An environment variable with the password.
    pub password_env: Option<String>,
    /// Whether the connection is encrypted and the server checked.
    #[serde(default)]
    pub tls: Tls,
    /// Certificates of the database's authority, PEM, relative to this file; public ones are known.
    pub ca: Option<PathBuf>,
    /// Certificate of this client, PEM, relative to this file, with its key.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// One SELECT. With `ORDER BY` where a job uses the first rows of a person.
    pub query: String,
    /// Rows that are fetched at a time.
    #[serde(default = "fetch_rows")]
    pub fetch_rows: u32,
    /// Longest that the database may work on one fetch, seconds.
    #[serde(default = "timeout")]
    pub statement_timeout_seconds: u32,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Encrypted; certificate and host name are checked.
    #[default]
    Verify,
    /// Not at all; only through a socket or on this machine.
    Off,
}

fn port() -> u16 {
    5432
}
fn fetch_rows() -> u32 {
    4000
}
fn timeout() -> u32 {
    600
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let mut config: Self = toml::from_str(&text).map_err(|e| {
            // The parser shows the line; a password that somebody wrote there must not be shown.
            format!("{}; the keys are those of deploy/config/postgres.toml", e.message())
        })?;
        let near = path.parent().unwrap_or(Path::new("."));
        let files = [
            &mut config.password_file,
            &mut config.ca,
            &mut config.client_cert,
            &mut config.client_key,
        ];
        files.into_iter().flatten().for_each(|file| *file = near.join(&*file));
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.host.is_some() == self.socket.is_some() {
            return Err("either host or socket".into());
        }
        if self.password_file.is_some() && self.password_env.is_some() {
            return Err("either password_file or password_env".into());
        }
        if self.client_cert.is_some() != self.client_key.is_some() {
            return Err("client_cert and client_key go together".into());
        }
        let local = self.host.as_deref().is_none_or(|host| {
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        });
        if self.tls == Tls::Off && !local {
            let problem = "tls = \"off\" sends records and password in the clear: only for a socket \
                           or a server on this machine";
            return Err(problem.into());
        }
        if self.query.trim().is_empty() {
            return Err("query is empty".into());
        }
        if !(1..=100_000).contains(&self.fetch_rows) || self.statement_timeout_seconds == 0 {
            return Err("fetch_rows is 1 to 100000, statement_timeout_seconds at least 1".into());
        }
        Ok(())
    }

    /// The password, if one is used.
    ///
    /// # Errors
    /// If the file cannot be read or others can read it, or the variable is not set.
    pub fn password(&self) -> Result<Option<Zeroizing<String>>, String> {
        if let Some(file) = &self.password_file {
            let text = files::read_secret(file).map_err(|e| e.to_string())?;
            return Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())));
        }
        let Some(variable) = &self.password_env else { return Ok(None) };
        let password = std::env::var(variable);
        let password = password.map_err(|_| format!("the variable {variable} is not set"))?;
        Ok(Some(Zeroizing::new(password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pg.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn the_sample_parses_and_mistakes_are_named() {
        let sample = include_str!("../../../../../deploy/config/postgres.toml");
        let config = load(sample).unwrap();
        assert_eq!((config.port, config.tls), (5432, Tls::Verify));
        assert!(config.password_file.unwrap().is_absolute());
        for (text, words) in [
            ("database = \"d\"\nuser = \"u\"\nquery = \"select 1\"", "either host or socket"),
            (&sample.replace("user =", "usr ="), "unknown field"),
            (&sample.replace("tls = \"verify\"", "tls = \"off\""), "in the clear"),
            (&format!("{sample}\npassword_env = \"X\""), "either password_file"),
            (&format!("{sample}\nfetch_rows = 0"), "fetch_rows"),
            (&format!("{sample}\nclient_cert = \"x\""), "go together"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let error = load(&format!("{sample}\npassword = \"hunter2\"")).unwrap_err();
        assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_password_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, secret) = (dir.path().join("pg.toml"), dir.path().join("password"));
        let text = "socket = \"/x\"\ntls = \"off\"\ndatabase = \"d\"\nuser = \"u\"\n\
                    query = \"select 1\"\npassword_file = \"password\"";
        std::fs::write(&path, text).unwrap();
        std::fs::write(&secret, "hunter2\n").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
        let config = Config::load(&path).unwrap();
        let error = config.password().unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(config.password().unwrap().unwrap().as_str(), "hunter2");
        let config =
            Config { password_file: None, password_env: Some("NO_SUCH_PASSWORD".into()), ..config };
        assert!(config.password().unwrap_err().contains("NO_SUCH_PASSWORD"));
    }
}
