//! Which libtorch is used, and the repository's link to it.
//!
//! A libtorch that the person names in `LIBTORCH`, or has named before, always wins; otherwise
//! one is made in the user's cache (see [`assemble`]).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::assemble::{self, STAMP, stamp};
use super::packages::TORCH;
use crate::support::repo::Repo;

/// What is there already.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The person's own, named by `LIBTORCH` now or at an earlier set-up.
    Own(PathBuf),
    /// Made by an earlier set-up.
    Cached(PathBuf),
    /// None: it has to be made.
    Missing,
}

/// Looks for libtorch and changes nothing. Fails if `LIBTORCH` names something unusable, or if
/// there is none and this platform has no automatic one.
pub fn find(repo: &Repo) -> Result<Found> {
    if let Some(own) = own_libtorch(env::var_os("LIBTORCH").map(PathBuf::from), repo)? {
        return Ok(Found::Own(own));
    }
    if let Some(own) = linked_earlier(repo) {
        return Ok(Found::Own(own));
    }
    let home = home(repo);
    if fs::read_to_string(home.join(STAMP)).is_ok_and(|text| text == stamp()) {
        return Ok(Found::Cached(home));
    }
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Found::Missing);
    }
    bail!(
        "libtorch can be fetched automatically on x86-64 Linux only: set LIBTORCH to an unpacked \
         libtorch {} (the folder that holds lib and include), or use --trainer reference",
        TORCH.version
    )
}

/// Makes libtorch if it is missing and points the repository's link at it.
pub fn ensure(repo: &Repo, found: Found) -> Result<()> {
    let home = match found {
        Found::Own(path) => {
            println!(
                "  libtorch: {} (your own; unset LIBTORCH and remove {} to have one fetched)",
                path.display(),
                repo.libtorch_link().display()
            );
            path
        }
        Found::Cached(path) => {
            println!("  libtorch: {} (ready)", path.display());
            path
        }
        Found::Missing => {
            let lock = repo.lock_user_cache()?;
            // Another set-up may have made it while this one waited.
            if !matches!(find(repo)?, Found::Cached(_)) {
                assemble::make(&home(repo), &repo.user_cache().join("libtorch.partial"))?;
            }
            drop(lock);
            home(repo)
        }
    };
    link(&repo.libtorch_link(), &home)
}

/// Where the automatic libtorch lies.
fn home(repo: &Repo) -> PathBuf {
    repo.user_cache().join(format!("libtorch-{}-cpu", TORCH.version))
}

/// The person's libtorch, if `LIBTORCH` names one. Cargo sets `LIBTORCH` to the repository's own
/// link where the person has not set it; that is not the person's choice.
fn own_libtorch(variable: Option<PathBuf>, repo: &Repo) -> Result<Option<PathBuf>> {
    let Some(path) = variable.filter(|p| !p.as_os_str().is_empty() && !is_link(p, repo)) else {
        return Ok(None);
    };
    if !is_usable(&path) {
        bail!(
            "LIBTORCH is set to {} but that folder does not hold include and lib/libtorch.so (or \
             .dylib): correct it, or unset LIBTORCH to let set-up fetch one",
            path.display()
        );
    }
    let full = path.canonicalize().with_context(|| format!("cannot follow {}", path.display()))?;
    Ok(Some(full))
}

/// What the repository's link points to, if that is usable and was not made by a set-up: then an
/// earlier `LIBTORCH` put it there.
fn linked_earlier(repo: &Repo) -> Option<PathBuf> {
    let target = fs::read_link(repo.libtorch_link()).ok()?;
    (is_usable(&target) && target != home(repo) && !target.join(STAMP).exists()).then_some(target)
}

/// Whether a path is the repository's own link, however it is spelled.
fn is_link(path: &Path, repo: &Repo) -> bool {
    let link = repo.libtorch_link();
    let folder = |path: &Path| path.parent().and_then(|parent| parent.canonicalize().ok());
    *path == link
        || (path.file_name() == link.file_name()
            && folder(path).is_some_and(|dir| folder(&link) == Some(dir)))
}

fn is_usable(path: &Path) -> bool {
    let libraries = ["libtorch.so", "libtorch.dylib"];
    let holds = |library: &&str| path.join("lib").join(library).is_file();
    path.join("include").is_dir() && libraries.iter().any(holds)
}

/// Points `link` at `target`; replaces an older link, never a real folder.
fn link(link: &Path, target: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    match fs::symlink_metadata(link) {
        Ok(meta) if !meta.is_symlink() => bail!(
            "{} is not a link: remove it, so that set-up can point it at {}",
            link.display(),
            target.display()
        ),
        _ => {}
    }
    // A new link renamed over the old one: a build at work never finds it absent.
    let fresh = link.with_extension("new");
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(target, &fresh)
        .and_then(|()| fs::rename(&fresh, link))
        .with_context(|| format!("cannot link {} to {}", link.display(), target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(dir: &Path) -> Repo {
        Repo::at(&dir.join("repo"), &dir.join("cache"))
    }

    #[test]
    fn cargos_own_setting_is_not_the_persons() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repo(dir.path());
        assert_eq!(own_libtorch(None, &repo).unwrap(), None);
        assert_eq!(own_libtorch(Some(PathBuf::new()), &repo).unwrap(), None);
        assert_eq!(own_libtorch(Some(repo.libtorch_link()), &repo).unwrap(), None);
    }

    #[test]
    fn an_own_libtorch_must_look_like_one() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        fs::create_dir_all(own.join("include")).unwrap();
        fs::create_dir_all(own.join("lib")).unwrap();
        let error = own_libtorch(Some(own.clone()), &repo(dir.path())).unwrap_err().to_string();
        assert!(error.contains("unset LIBTORCH"), "{error}");
        fs::write(own.join("lib/libtorch.so"), "").unwrap();
        let found = own_libtorch(Some(own.clone()), &repo(dir.path())).unwrap();
        assert_eq!(found, Some(own.canonicalize().unwrap()));
    }

    #[test]
    fn an_own_libtorch_is_remembered_and_a_made_one_is_not_own() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repo(dir.path());
        assert_eq!(linked_earlier(&repo), None);
        let own = dir.path().join("own");
        fs::create_dir_all(own.join("include")).unwrap();
        fs::create_dir_all(own.join("lib")).unwrap();
        fs::write(own.join("lib/libtorch.so"), "").unwrap();
        link(&repo.libtorch_link(), &own).unwrap();
        assert_eq!(linked_earlier(&repo), Some(own.clone()));
        // The same place under another name is still the link.
        let spelled = repo.root().join(".cache/../.cache/libtorch");
        assert_eq!(own_libtorch(Some(spelled), &repo).unwrap(), None);
        fs::write(own.join(STAMP), stamp()).unwrap();
        assert_eq!(linked_earlier(&repo), None);
        fs::remove_dir_all(&own).unwrap();
        assert_eq!(linked_earlier(&repo), None);
    }

    #[test]
    fn the_link_follows_and_never_replaces_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let place = dir.path().join("repo").join("libtorch");
        link(&place, &a).unwrap();
        assert_eq!(fs::read_link(&place).unwrap(), a);
        link(&place, &b).unwrap();
        assert_eq!(fs::read_link(&place).unwrap(), b);
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        assert!(link(&place, &a).is_err());
        assert!(place.is_dir());
    }
}
