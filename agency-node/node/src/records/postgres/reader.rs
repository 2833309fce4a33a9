//! The thread that drives the connection: a read-only transaction, a cursor, fetches until the end.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Executor, Row as _, SqlSafeStr, Statement, TypeInfo,
    ValueRef,
};
use tributary_training::source::Row;

use super::config::{Config, Tls};

/// Longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(20);

type Names = SyncSender<Result<Vec<String>, String>>;
type Batches = SyncSender<Result<Vec<Row>, String>>;

/// Connects, says which columns there are, waits for a choice among them, and sends rows. An empty
/// batch ends it. Whoever has read enough drops the receiver.
pub(super) fn run(config: &Config, names: &Names, choice: &Receiver<Vec<usize>>, rows: &Batches) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            _ = names.send(Err(error.to_string()));
            return;
        }
    };
    let (mut connection, columns) = match runtime.block_on(open(config)) {
        Ok((connection, columns)) => (connection, columns),
        Err(text) => {
            _ = names.send(Err(text));
            return;
        }
    };
    if names.send(Ok(columns)).is_err() {
        return;
    }
    let Ok(places) = choice.recv() else { return };
    let done = runtime.block_on(fetch(&mut connection, config, &places, rows));
    _ = rows.send(done.map(|()| Vec::new()));
}

async fn open(config: &Config) -> Result<(PgConnection, Vec<String>), String> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(config.port)
        .database(&config.database)
        .username(&config.user)
        .application_name("agency-node")
        .disable_statement_logging()
        .ssl_mode(match config.tls {
            Tls::Verify => PgSslMode::VerifyFull,
            Tls::Off => PgSslMode::Disable,
        });
    options = match (&config.host, &config.socket) {
        (Some(host), _) => options.host(host),
        (None, Some(socket)) => options.socket(socket),
        (None, None) => options,
    };
    if let Some(ca) = &config.ca {
        options = options.ssl_root_cert(ca);
    }
    if let (Some(certificate), Some(key)) = (&config.client_cert, &config.client_key) {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    if let Some(password) = config.password()? {
        options = options.password(&password);
    }
    let connecting = tokio::time::timeout(CONNECT, options.connect()).await;
    let connection = connecting.map_err(|_| "connecting took longer than 20 s".to_owned())?;
    let mut connection = connection.map_err(|e| shown("connecting", &e))?;
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{}s'; \
         SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'",
        config.statement_timeout_seconds
    );
    let begun = sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await;
    begun.map_err(|e| shown("beginning to read", &e))?;
    // Prepared, and so one statement: a second one behind a semicolon is refused.
    let query = AssertSqlSafe(config.query.clone()).into_sql_str();
    let prepared = (&mut connection).prepare(query).await.map_err(|e| shown("the query", &e))?;
    let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    Ok((connection, columns))
}

async fn fetch(
    connection: &mut PgConnection,
    config: &Config,
    places: &[usize],
    rows: &Batches,
) -> Result<(), String> {
    let query = config.query.trim().trim_end_matches(';');
    let declare = format!("DECLARE records NO SCROLL CURSOR FOR {query}");
    let declared = sqlx::query(AssertSqlSafe(declare)).persistent(false).execute(&mut *connection);
    declared.await.map_err(|e| shown("the query", &e))?;
    let (next, mut count) = (format!("FETCH {} FROM records", config.fetch_rows), 0);
    loop {
        // The simple protocol: every value comes as text, whatever its type.
        let fetched = sqlx::raw_sql(AssertSqlSafe(next.clone())).fetch_all(&mut *connection);
        let fetched = fetched.await.map_err(|e| shown("reading", &e))?;
        if fetched.is_empty() {
            _ = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
            return Ok(());
        }
        let mut batch = Vec::with_capacity(fetched.len());
        for row in &fetched {
            count += 1;
            batch.push(cells(row, places, count)?);
        }
        if rows.send(Ok(batch)).is_err() {
            return Ok(());
        }
    }
}

fn cells(row: &PgRow, places: &[usize], number: u64) -> Result<Row, String> {
    let mut out = Row::default();
    out.start(number, places.len());
    for (at, place) in places.iter().enumerate() {
        let value = row.try_get_raw(*place).map_err(|e| shown("reading", &e))?;
        if value.is_null() {
            continue;
        }
        let is_bool = row.columns().get(*place).is_some_and(|c| c.type_info().name() == "BOOL");
        match value.as_bytes().unwrap_or_default() {
            b"t" if is_bool => out.set_text(at, b"true"),
            b"f" if is_bool => out.set_text(at, b"false"),
            bytes => out.set_text(at, bytes),
        }
    }
    Ok(out)
}

/// An error in words that hold no cell: what a database says of a value may repeat it.
fn shown(what: &str, error: &sqlx::Error) -> String {
    let Some(database) = error.as_database_error() else {
        return format!("PostgreSQL: {what}: {error}");
    };
    let code = database.code().unwrap_or_default();
    // Connections, names, permissions, syntax, resources, interruptions.
    let harmless = ["08", "28", "3D", "3F", "42", "53", "55", "57", "58"];
    match code.get(..2) {
        Some(class) if harmless.contains(&class) => {
            format!("PostgreSQL: {what}: {} (SQLSTATE {code})", database.message())
        }
        _ => format!("PostgreSQL: {what}: SQLSTATE {code}; the database's log says more"),
    }
}
