//! The federation's certificate authorities in the data directory: one, or two while one replaces the
//! other.
//!
//! A rotation has two steps. [`rotate`] makes the next authority: from then on members get their
//! certificates from it, both are trusted, and every member learns of the next one over its
//! authenticated connection. The service itself still shows a certificate of the old one, which
//! everybody trusts. [`retire`] makes the next one the only one. Each step is one change of files, so
//! that a crash leaves the state before or after it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use tributary_transport::files::{self, Entry};
use tributary_transport::{CertificateAuthority, Fingerprint, TrustDomain};
use zeroize::Zeroizing;

use crate::data_dir::DataDir;

/// How long an authority is valid.
pub const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const CURRENT: Files = Files { group: "ca", certificate: "ca.pem", key: "ca-key.pem" };
const NEXT: Files = Files { group: "ca-next", certificate: "ca-next.pem", key: "ca-next-key.pem" };

/// Where one authority lies.
struct Files {
    group: &'static str,
    certificate: &'static str,
    key: &'static str,
}

/// The authorities of one moment.
#[derive(Debug)]
pub struct Authorities {
    current: CertificateAuthority,
    next: Option<CertificateAuthority>,
}

impl Authorities {
    /// Reads them, after finishing a change that a crash interrupted.
    ///
    /// # Errors
    /// If files are missing, readable by others or malformed.
    pub fn load(dir: &DataDir) -> anyhow::Result<Self> {
        let (current, _) = CURRENT.load(dir)?.context("the certificate authority is missing")?;
        let next = NEXT.load(dir)?.map(|(next, _)| next);
        // Left over where a retirement was cut off after its step.
        let next = next.filter(|next| next.fingerprint() != current.fingerprint());
        Ok(Self { current, next })
    }

    /// The one under which the service shows itself, and which tokens name.
    pub fn serving(&self) -> &CertificateAuthority {
        &self.current
    }

    /// The one that issues certificates of members.
    pub fn issuing(&self) -> &CertificateAuthority {
        self.next.as_ref().unwrap_or(&self.current)
    }

    /// The one that is to replace the other.
    pub fn next(&self) -> Option<&CertificateAuthority> {
        self.next.as_ref()
    }

    /// All that are trusted, PEM.
    pub fn trusted_pem(&self) -> String {
        let next = self.next.as_ref().map_or("", |next| next.certificate_pem());
        format!("{}{next}", self.current.certificate_pem())
    }

    /// The files whose change means that this has to be read again.
    pub fn files(dir: &DataDir) -> Vec<PathBuf> {
        [CURRENT.certificate, NEXT.certificate].map(|name| dir.path().join(name)).into()
    }
}

/// Makes the first authority of a data directory; its key comes last.
///
/// # Errors
/// From the file system or the cryptographic library.
pub fn create(dir: &DataDir, name: &str, now: SystemTime) -> anyhow::Result<CertificateAuthority> {
    let (ca, key) = CertificateAuthority::create(name, TrustDomain::default(), now, VALIDITY)?;
    CURRENT.save(dir, &ca, &key)?;
    Ok(ca)
}

/// Makes the authority that is to replace the present one.
///
/// # Errors
/// If there is one already, or from the file system.
pub fn rotate(dir: &DataDir, name: &str, now: SystemTime) -> anyhow::Result<Fingerprint> {
    if let Some(next) = Authorities::load(dir)?.next {
        bail!(
            "authority {} is replacing the old one already; see `aggregator ca status`, then \
             `aggregator ca retire`",
            next.fingerprint()
        );
    }
    NEXT.remove(dir)?;
    let (ca, key) = CertificateAuthority::create(name, TrustDomain::default(), now, VALIDITY)?;
    NEXT.save(dir, &ca, &key)?;
    Ok(ca.fingerprint())
}

/// Makes the next authority the only one; the old one's key is deleted.
///
/// # Errors
/// If no rotation is in progress, or from the file system.
pub fn retire(dir: &DataDir) -> anyhow::Result<Fingerprint> {
    let loaded = Authorities::load(dir)?;
    if loaded.next.is_none() {
        NEXT.remove(dir)?;
        bail!("no authority is being replaced; `aggregator ca rotate` begins");
    }
    let (next, key) = NEXT.load(dir)?.context("the next authority is missing")?;
    CURRENT.save(dir, &next, &key)?;
    NEXT.remove(dir)?;
    Ok(next.fingerprint())
}

impl Files {
    fn load(
        &self,
        dir: &DataDir,
    ) -> anyhow::Result<Option<(CertificateAuthority, Zeroizing<String>)>> {
        files::recover(dir.path(), self.group, &[self.key, self.certificate])?;
        let (certificate, key) = (dir.path().join(self.certificate), dir.path().join(self.key));
        if !certificate.exists() && !key.exists() {
            return Ok(None);
        }
        let pem = files::read_text(&certificate)?;
        let key = files::read_secret(&key)?;
        let ca = CertificateAuthority::from_pem(&pem, &key, TrustDomain::default())
            .with_context(|| format!("certificate authority {}", certificate.display()))?;
        Ok(Some((ca, key)))
    }

    fn save(&self, dir: &DataDir, ca: &CertificateAuthority, key: &str) -> anyhow::Result<()> {
        let pem = ca.certificate_pem().as_bytes();
        let entries = [
            // The key last: its presence is what makes a data directory.
            Entry { name: self.certificate, content: pem, secret: false },
            Entry { name: self.key, content: key.as_bytes(), secret: true },
        ];
        Ok(files::save_group(dir.path(), self.group, &entries)?)
    }

    fn remove(&self, dir: &DataDir) -> anyhow::Result<()> {
        for name in [self.key, self.certificate] {
            let path = dir.path().join(name);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir, Fingerprint) {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&root.path().join("a")).unwrap();
        let first = create(&dir, "test", SystemTime::now()).unwrap().fingerprint();
        (root, dir, first)
    }

    #[test]
    fn one_authority_follows_another() {
        let (_root, dir, first) = directory();
        let at_first = Authorities::load(&dir).unwrap();
        assert_eq!(at_first.issuing().fingerprint(), first);
        assert!(retire(&dir).unwrap_err().to_string().contains("ca rotate"));

        let second = rotate(&dir, "test", SystemTime::now()).unwrap();
        let both = Authorities::load(&dir).unwrap();
        assert_eq!(both.serving().fingerprint(), first);
        assert_eq!(both.issuing().fingerprint(), second);
        let trusted = tributary_transport::members::authority_fingerprints(&both.trusted_pem());
        assert_eq!(trusted.unwrap(), [first, second]);
        assert!(
            rotate(&dir, "test", SystemTime::now()).unwrap_err().to_string().contains("already")
        );

        assert_eq!(retire(&dir).unwrap(), second);
        let after = Authorities::load(&dir).unwrap();
        assert_eq!(after.serving().fingerprint(), second);
        assert!(after.next().is_none() && !dir.path().join("ca-next-key.pem").exists());
        rotate(&dir, "test", SystemTime::now()).unwrap();
    }

    #[test]
    fn a_retirement_that_is_cut_off_leaves_one_state_or_the_other() {
        let (_root, dir, first) = directory();
        let second = rotate(&dir, "test", SystemTime::now()).unwrap();
        let (next, key) = NEXT.load(&dir).unwrap().unwrap();
        let path = |name: &str| dir.path().join(name);
        // Killed after one of the two new files was written: nothing has changed.
        std::fs::write(path("ca.pem.new"), next.certificate_pem()).unwrap();
        assert_eq!(Authorities::load(&dir).unwrap().serving().fingerprint(), first);
        // Killed after the change, before the leftovers were removed.
        CURRENT.save(&dir, &next, &key).unwrap();
        let after = Authorities::load(&dir).unwrap();
        assert_eq!(after.serving().fingerprint(), second);
        assert!(after.next().is_none());
        assert!(retire(&dir).is_err());
        assert!(!path("ca-next.pem").exists(), "the leftovers are gone");
    }
}
