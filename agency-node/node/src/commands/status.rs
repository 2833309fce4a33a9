//! `agency-node status` and `check-config`.

use tributary_ledger::Entry;
use tributary_transport::{NodeCredentials, TrustDomain, certificate};

use crate::audit::Event;
use crate::book::Book;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::storage::Storage;

/// Entries of the audit record among which the last refusal is looked for.
const LOOK_BACK: u32 = 500;

/// Shows identity, datasets and the job in progress.
pub(super) async fn status(dir: &DataDir, json: bool) -> anyhow::Result<()> {
    let config = dir.config()?;
    let storage = dir.storage().await?;
    let book = Book::replay(&storage.book().await?)?;
    let datasets = storage.datasets().await?;
    let key = dir.identity()?.verifying_key();
    let job = storage.open_job().await?;
    let job = job.as_ref().map(|j| tributary_job::Manifest::from_canonical(&j.manifest));
    let job = job.transpose()?;
    let waiting = waiting(&storage).await?;
    let refused = last_refusal(&storage).await?;
    let policy = dir.policy(&config).ok();
    if json {
        let data: Vec<_> = datasets
            .iter()
            .map(|d| {
                serde_json::json!({"name": d.name, "declared_records": d.declared_records,
                    "budget": book.status(&d.name)})
            })
            .collect();
        let status = serde_json::json!({
            "agency": config.agency, "aggregator": config.aggregator,
            "signing_key": key.to_string(), "certificate": certificate_json(dir, &config),
            "datasets": data,
            "job": job.map(|j| j.spec.name), "requests_waiting": waiting,
            "last_refusal": refused, "roster": policy.map(|p| p.roster.name()),
        });
        println!("{status}");
        return Ok(());
    }
    println!("agency {} at {}", config.agency, config.aggregator);
    println!("signing key {}", key.fingerprint());
    let pinned = tributary_secagg::VerifyingKey::from_hex(&config.aggregator_key)?;
    println!("aggregator's signing key {}", pinned.fingerprint());
    println!("{}", certificate_line(dir, &config));
    for d in &datasets {
        let spent = match book.status(&d.name) {
            Some(s) if s.unprotected => "no bound: exact sums have left (mode none)".to_owned(),
            Some(s) => format!("epsilon {:.3} committed", s.committed),
            None => "no budget".to_owned(),
        };
        println!("dataset {}: {} records declared, {spent}", d.name, d.declared_records);
    }
    match job {
        Some(job) => println!("in job {}: {}", job.spec.name, job.spec.description),
        None => println!("in no job"),
    }
    match waiting.as_slice() {
        [] => println!("no job waits for a data steward"),
        jobs => println!("waiting for a data steward: {}; see `requests list`", jobs.join(", ")),
    }
    if let Some(policy) = &policy {
        println!("keys of other agencies: roster = {:?}", policy.roster.name());
    }
    if let Some(refused) = &refused {
        println!("last refusal: {refused}");
    }
    Ok(())
}

/// When the certificate ends and when it is renewed; what is wrong with it, if something is.
fn certificate_line(dir: &DataDir, config: &Config) -> String {
    let line = |credentials: NodeCredentials| {
        let (serial, end) = (credentials.certificate()?.serial, credentials.not_after()?);
        let (end, due) = (certificate::utc(end), certificate::utc(credentials.renewal_due()?));
        let renewal = match (&config.tls, credentials.not_after()? < std::time::SystemTime::now()) {
            (Some(_), _) => "renewed by the agency's own authority".to_owned(),
            (None, true) => "ENDED: `agency-node renew --token-file` with a new token".to_owned(),
            (None, false) => format!("renewal due {due}"),
        };
        anyhow::Ok(format!("certificate {serial} until {end}; {renewal}"))
    };
    dir.credentials(config).and_then(line).unwrap_or_else(|e| format!("certificate: {e:#}"))
}

fn certificate_json(dir: &DataDir, config: &Config) -> serde_json::Value {
    let read = |credentials: NodeCredentials| {
        anyhow::Ok(serde_json::json!({
            "serial": credentials.certificate()?.serial,
            "ends": certificate::utc(credentials.not_after()?),
            "renewal_due": match config.tls {
                Some(_) => None,
                None => Some(certificate::utc(credentials.renewal_due()?)),
            },
        }))
    };
    dir.credentials(config)
        .and_then(read)
        .unwrap_or_else(|e| serde_json::json!({"problem": format!("{e:#}")}))
}

/// Jobs about which nobody has decided yet, by name and the beginning of their hashes.
async fn waiting(storage: &Storage) -> anyhow::Result<Vec<String>> {
    let decided = storage.consent().await?.decisions;
    let open = storage.open_job().await?.map(|job| hex::encode(job.hash()));
    let requests = storage.requests().await?.into_iter();
    let requests = requests.filter(|r| r.outcome.is_none() && !decided.contains_key(&r.job));
    let named = requests.filter(|r| open.as_ref() != Some(&r.job)).map(|r| {
        let name = tributary_job::Manifest::from_canonical(&r.manifest).map(|m| m.spec.name);
        let name = name.unwrap_or_else(|_| "a job".to_owned());
        format!("{name} ({})", r.job.get(..12).unwrap_or(&r.job))
    });
    Ok(named.collect())
}

/// The newest refusal of the audit record, in words for the operator.
async fn last_refusal(storage: &Storage) -> anyhow::Result<Option<String>> {
    for line in storage.audit_tail(LOOK_BACK).await?.iter().rev() {
        let entry: Entry = serde_json::from_str(line)?;
        if let Ok(Event::JobRefused { job, code, why }) = Event::from_body(&entry.body) {
            let job = job.get(..12).unwrap_or(&job).to_owned();
            return Ok(Some(format!("job {job} at {}: {code}: {why}", entry.at)));
        }
    }
    Ok(None)
}

/// Reads everything that `serve` will need.
pub(super) async fn check(dir: &DataDir) -> anyhow::Result<()> {
    let config = dir.config()?;
    dir.policy(&config)?;
    dir.identity()?;
    dir.credentials(&config)?.check(&TrustDomain::default())?;
    let storage = dir.storage().await?;
    storage.check_audit().await?;
    let book = Book::replay(&storage.book().await?)?;
    let share = |a: &str, b: &str| book.account_of(a) == book.account_of(b);
    for (a, b, how) in crate::twins::conflicts(&storage.datasets().await?, share) {
        eprintln!(
            "warning: the file of {a} {how}, as {b}, and they have two budgets: nothing bounds what \
             both together give away. Take one of them out of the policy"
        );
    }
    println!("{} is valid", dir.config_file().display());
    Ok(())
}
