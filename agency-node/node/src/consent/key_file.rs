//! A data steward's key in a file of their own: sealed with a passphrase, or plain with mode 0600.
//!
//! PBKDF2-HMAC-SHA-256 and AES-256-GCM from the one cryptographic library. The node registers the
//! public half alone; whoever has the file and the passphrase is the steward.

use std::num::NonZeroU32;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{pbkdf2, rand};
use serde::{Deserialize, Serialize};
use tributary_secagg::{Identity, VerifyingKey};
use tributary_transport::files::{self, FileError};
use zeroize::{Zeroize as _, Zeroizing};

/// Version of the format.
const VERSION: u32 = 1;

/// Iterations of new files (OWASP's recommendation of 2023 for this function).
const ITERATIONS: u32 = 600_000;

/// Bounds of what is believed of a file: enough work to be of use, and no endless one.
const BOUNDS: std::ops::RangeInclusive<u32> = 1000..=20_000_000;

/// Shortest passphrase, bytes.
pub const MIN_PASSPHRASE: usize = 12;

/// A steward's name and key.
pub struct StewardKey {
    /// Their name.
    pub name: String,
    /// The key.
    pub identity: Identity,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a key file.
    #[error("{path} is no steward's key file: {problem}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A passphrase is needed.
    #[error(
        "{path} is sealed: give its passphrase with --passphrase-file FILE (`-` reads it from standard input)"
    )]
    Sealed {
        /// The file.
        path: String,
    },
    /// It does not open.
    #[error("{path} does not open with this passphrase, or it was changed")]
    Passphrase {
        /// The file.
        path: String,
    },
    /// A passphrase that anybody could try.
    #[error(
        "the passphrase has {found} bytes, at least {MIN_PASSPHRASE} are needed; \
             --no-passphrase leaves the key file unsealed, readable by its owner alone"
    )]
    Short {
        /// Its length.
        found: usize,
    },
    /// The library.
    #[error("the cryptographic library failed; check the system's randomness source")]
    Library,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    tributary_steward_key: u32,
    name: String,
    public: String,
    /// PKCS#8 in hex, where the file is not sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    iterations: u32,
    salt: String,
    nonce: String,
    text: String,
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl std::fmt::Debug for StewardKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StewardKey {{ name: {:?}, identity: <redacted> }}", self.name)
    }
}

impl StewardKey {
    /// Writes the key to a file, sealed if there is a passphrase.
    ///
    /// # Errors
    /// For a passphrase that is too short, and from the file system.
    pub fn save(&self, path: &Path, passphrase: Option<&str>) -> Result<(), KeyFileError> {
        let text = self.to_text(passphrase, ITERATIONS)?;
        Ok(files::save(path, text.as_bytes(), true)?)
    }

    /// Reads the key from a file.
    ///
    /// # Errors
    /// If others may read the file, it is no key, or the passphrase is wrong or missing.
    pub fn load(path: &Path, passphrase: Option<&str>) -> Result<Self, KeyFileError> {
        let text = files::read_secret(path)?;
        Self::from_text(&text, passphrase, &path.display().to_string())
    }

    fn to_text(
        &self,
        passphrase: Option<&str>,
        iterations: u32,
    ) -> Result<Zeroizing<String>, KeyFileError> {
        let (name, public) = (self.name.clone(), self.identity.verifying_key().to_string());
        let document = self.identity.to_pkcs8();
        let mut fields =
            Fields { tributary_steward_key: VERSION, name, public, secret: None, sealed: None };
        match passphrase {
            None => fields.secret = Some(hex::encode(&*document)),
            Some(passphrase) if passphrase.len() < MIN_PASSPHRASE => {
                return Err(KeyFileError::Short { found: passphrase.len() });
            }
            Some(passphrase) => {
                let (mut salt, mut nonce) = ([0; 16], [0; 12]);
                rand::fill(&mut salt).map_err(|_| KeyFileError::Library)?;
                rand::fill(&mut nonce).map_err(|_| KeyFileError::Library)?;
                // Room for the tag: growing would leave a copy of the key behind.
                let mut text = Zeroizing::new(Vec::with_capacity(document.len() + 64));
                text.extend_from_slice(&document);
                let key = key_of(passphrase, &salt, iterations)?;
                let about = about(&fields.name, &fields.public);
                key.seal_in_place_append_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(about),
                    &mut *text,
                )
                .map_err(|_| KeyFileError::Library)?;
                fields.sealed = Some(Sealed {
                    iterations,
                    salt: hex::encode(salt),
                    nonce: hex::encode(nonce),
                    text: hex::encode(&*text),
                });
            }
        }
        toml::to_string(&fields).map(Zeroizing::new).map_err(|_| KeyFileError::Library)
    }

    fn from_text(text: &str, passphrase: Option<&str>, path: &str) -> Result<Self, KeyFileError> {
        let malformed = |problem: &str| KeyFileError::Malformed {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        // The parser's own words could repeat a secret.
        let fields: Fields = toml::from_str(text).map_err(|_| malformed("it cannot be read"))?;
        if fields.tributary_steward_key != VERSION {
            return Err(malformed("it is of another version"));
        }
        super::check_name(&fields.name).map_err(|problem| malformed(&problem))?;
        let document = match (&fields.secret, &fields.sealed, passphrase) {
            (Some(secret), None, _) => {
                Zeroizing::new(hex::decode(secret).map_err(|_| malformed("not hex"))?)
            }
            (None, Some(_), None) => return Err(KeyFileError::Sealed { path: path.to_owned() }),
            (None, Some(sealed), Some(passphrase)) => {
                open(&fields, sealed, passphrase, &malformed, path)?
            }
            _ => return Err(malformed("it must hold one key, sealed or plain")),
        };
        let identity = Identity::from_pkcs8(&document).map_err(|e| malformed(&e.to_string()))?;
        let public = VerifyingKey::from_hex(&fields.public).map_err(|_| malformed("not a key"))?;
        if identity.verifying_key() != public {
            return Err(malformed("its two halves do not belong together"));
        }
        Ok(Self { name: fields.name.clone(), identity })
    }
}

fn open(
    fields: &Fields,
    sealed: &Sealed,
    passphrase: &str,
    malformed: &dyn Fn(&str) -> KeyFileError,
    path: &str,
) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    if !BOUNDS.contains(&sealed.iterations) {
        return Err(malformed("a number of iterations that cannot be"));
    }
    let bytes = |text: &str| hex::decode(text).map_err(|_| malformed("not hex"));
    let nonce: [u8; 12] =
        bytes(&sealed.nonce)?.try_into().map_err(|_| malformed("a nonce of another length"))?;
    let key = key_of(passphrase, &bytes(&sealed.salt)?, sealed.iterations)?;
    let mut text = Zeroizing::new(bytes(&sealed.text)?);
    let about = about(&fields.name, &fields.public);
    let opened =
        key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut text);
    let length = opened.map_err(|_| KeyFileError::Passphrase { path: path.to_owned() })?.len();
    text.truncate(length);
    Ok(text)
}

fn key_of(passphrase: &str, salt: &[u8], iterations: u32) -> Result<LessSafeKey, KeyFileError> {
    let iterations = NonZeroU32::new(iterations).ok_or(KeyFileError::Library)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    let bytes = passphrase.as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, bytes, &mut *key);
    let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| KeyFileError::Library)?;
    Ok(LessSafeKey::new(key))
}

/// Bound to the sealed key: a file cannot be given another name or public half.
fn about(name: &str, public: &str) -> Vec<u8> {
    [b"tributary/steward-key/v1:", name.as_bytes(), b":", public.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> StewardKey {
        StewardKey { name: "jane".into(), identity: Identity::generate().unwrap() }
    }

    fn read(text: &str, passphrase: Option<&str>) -> Result<StewardKey, KeyFileError> {
        StewardKey::from_text(text, passphrase, "key.toml")
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_alone_and_as_it_was_written() {
        let key = key();
        let text = key.to_text(Some("correct horse battery"), 1000).unwrap();
        let secret = hex::encode(&*key.identity.to_pkcs8());
        assert!(!text.contains(&secret[32..64]), "the key stands in the file");
        let back = read(&text, Some("correct horse battery")).unwrap();
        assert_eq!(back.identity.verifying_key(), key.identity.verifying_key());
        for wrong in ["correct horse batterz", ""] {
            let error = read(&text, Some(wrong)).unwrap_err();
            assert!(matches!(error, KeyFileError::Passphrase { .. }), "{error}");
        }
        assert!(matches!(read(&text, None), Err(KeyFileError::Sealed { .. })));
        let renamed = text.replace("name = \"jane\"", "name = \"john\"");
        assert_ne!(renamed, *text);
        assert!(read(&renamed, Some("correct horse battery")).is_err(), "another name");
        let endless = text.replace("iterations = 1000", "iterations = 4294967295");
        assert!(matches!(read(&endless, Some("x")), Err(KeyFileError::Malformed { .. })));
        assert!(matches!(key.to_text(Some("short"), 1000), Err(KeyFileError::Short { found: 5 })));
    }

    #[test]
    fn a_plain_key_is_its_owners_alone_and_a_broken_file_says_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.toml");
        let key = key();
        key.save(&path, None).unwrap();
        let back = StewardKey::load(&path, None).unwrap();
        assert_eq!(back.identity.verifying_key(), key.identity.verifying_key());
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = hex::encode(&*key.identity.to_pkcs8());
        let broken = text.replace("name =", "nname =");
        let error = read(&broken, None).unwrap_err().to_string();
        assert!(!error.contains(&secret[..16]), "{error}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let error = StewardKey::load(&path, None).unwrap_err().to_string();
            assert!(error.contains("secret"), "{error}");
        }
        assert!(!format!("{key:?}").contains(&secret[..16]));
    }
}
