//! The data directory. A marker file shows that it belongs to the service, which removes leftovers of its own from it at
//! each start: a directory of someone else is refused, and a file that the service did not name is never removed.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use super::{Result, StoreError, io, io_at};
use crate::model::{BatchId, TransferId};

/// The name of the marker file.
const MARKER: &str = ".tallymill";
const MARKER_TEXT: &str = "This directory belongs to tallymill, which removes leftovers of its own from tmp/ and parts/.\n";
/// What a file system or a volume has in its root by itself.
const NOT_CONTENT: [&str; 2] = ["lost+found", ".snapshot"];
/// What the service has in its directory; without the marker in those of versions before it.
const OWN: [&str; 7] = [
    "tallymill.db",
    "tallymill.db-wal",
    "tallymill.db-shm",
    "tallymill.lock",
    "batches",
    "parts",
    "tmp",
];
/// Characters of the id of a transfer.
const ID_CHARS: usize = 36;
/// Names that a refusal shows.
const SHOWN: usize = 3;
/// The first bytes of an SQLite database.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// Makes a directory that of the service: creates it, or checks that it is empty or has the marker, and closes it to other
/// users of the machine.
///
/// # Errors
/// [`StoreError::Setup`] if it has files of someone else, if a link leads out of it, or if the system refuses.
pub fn claim_directory(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)
        // A file in its place is reported by the error of reading it.
        .map_err(|why| fs::read_dir(dir).err().unwrap_or(why))
        .map_err(|why| StoreError::unusable_path(dir, &why))?;
    let marker = dir.join(MARKER);
    if !is_file(&marker) {
        refuse_foreign(dir)?;
        mark(&marker).map_err(|why| StoreError::unusable_path(&marker, &why))?;
    }
    for name in ["tmp", "parts", "tallymill.lock", "tallymill.db"] {
        refuse_link(&dir.join(name))?;
    }
    close_to_others(dir);
    Ok(())
}

fn mark(marker: &Path) -> std::io::Result<()> {
    match File::create_new(marker) {
        Ok(mut file) => file.write_all(MARKER_TEXT.as_bytes()),
        // Another process that shares the directory was first.
        Err(why) if why.kind() == ErrorKind::AlreadyExists && is_file(marker) => Ok(()),
        Err(why) => Err(why),
    }
}

fn refuse_foreign(dir: &Path) -> Result<()> {
    if has_own_database(dir) {
        return Ok(());
    }
    let mut foreign = Vec::new();
    for path in entries(dir)? {
        let name = name_of(&path);
        if NOT_CONTENT.contains(&name.as_str()) {
            continue;
        }
        if !OWN.contains(&name.as_str()) && !is_health_file(&name) {
            foreign.push(name);
        } else if name == "tmp" || name == "parts" {
            refuse_link(&path)?;
            let is_own = if name == "tmp" { is_temporary } else { is_part };
            let inside = entries(&path)?.into_iter().map(|file| name_of(&file));
            foreign.extend(
                inside
                    .filter(|file| !is_own(file))
                    .map(|file| format!("{name}/{file}")),
            );
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    foreign.sort_unstable();
    let more = if foreign.len() > SHOWN { ", …" } else { "" };
    foreign.truncate(SHOWN);
    Err(StoreError::Setup(format!(
        "{} has files that are not of this service ({}{more}): set DATA_DIR to an empty directory; if it is one of this service, create an empty file `{MARKER}` in it",
        dir.display(),
        foreign.join(", ")
    )))
}

/// Whether the directory has a database, as those of versions without the marker.
fn has_own_database(dir: &Path) -> bool {
    let path = dir.join("tallymill.db");
    let mut head = [0; SQLITE.len()];
    is_file(&path)
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok())
        && head == *SQLITE
}

/// A link would lead removals and truncations out of the directory.
fn refuse_link(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|entry| entry.is_symlink()) {
        return Err(StoreError::Setup(format!(
            "{} is a symbolic link, which is not followed: remove it, and mount another file system there or set DATA_DIR to the other place",
            path.display()
        )));
    }
    Ok(())
}

/// Takes the permissions of all other users away. A directory of another owner stays as it is.
fn close_to_others(dir: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let closed = fs::metadata(dir).and_then(|entry| {
            let mut permissions = entry.permissions();
            if permissions.mode() & 0o077 == 0 {
                return Ok(());
            }
            permissions.set_mode(permissions.mode() & !0o077);
            fs::set_permissions(dir, permissions)
        });
        if let Err(error) = closed {
            tracing::warn!(dir = %dir.display(), %error, "data directory can be read by other users of this machine, and its permissions can't be changed");
        }
    }
}

/// The beginning of the name of a file that checks a directory.
const CHECK: &str = ".check-";
/// Bytes that a check of a directory writes: more than a file system may still have in blocks that are in use.
const CHECK_BYTES: usize = 64 << 10;

/// Writes a file to a directory and removes it.
///
/// # Errors
/// [`StoreError`](super::StoreError) if the directory is missing, or does not accept a file.
pub fn check_directory(dir: &Path) -> Result<()> {
    // Processes may share the directory.
    let path = dir.join(format!("{CHECK}{}", uuid::Uuid::now_v7()));
    let written = fs::write(&path, vec![0; CHECK_BYTES]);
    // Removed even if only a part was written.
    let removed = fs::remove_file(&path);
    written
        .and(removed)
        .map_err(|why| io("writing a file to check a directory", why))
}

/// Whether a name in `tmp` is one that the service gives: an unfinished event file, a check of the directory, a spilled run.
pub(super) fn is_temporary(name: &str) -> bool {
    let is_id = |id: &str| id.parse::<BatchId>().is_ok();
    name.strip_suffix(".parquet").is_some_and(is_id)
        || name.strip_prefix(CHECK).is_some_and(is_id)
        || name
            .strip_prefix(".tmp")
            .is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Returns the name of a part file: its transfer, the offset of its first byte, and an id of its own.
pub(super) fn part_name(transfer: TransferId, start: u64, id: TransferId) -> String {
    format!("{transfer}-{start}-{id}")
}

/// Whether a name in `parts` is one of [`part_name`].
pub(super) fn is_part(name: &str) -> bool {
    let parsed = || {
        let (transfer, rest) = name.split_at_checked(ID_CHARS)?;
        let (start, id) = rest.strip_prefix('-')?.split_once('-')?;
        let parts = (
            transfer.parse().ok()?,
            start.parse().ok()?,
            id.parse().ok()?,
        );
        (part_name(parts.0, parts.1, parts.2) == name).then_some(())
    };
    parsed().is_some()
}

fn is_health_file(name: &str) -> bool {
    let name = name.strip_prefix("health-");
    name.is_some_and(|rest| rest.ends_with(".json") || rest.ends_with(".new"))
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|entry| entry.is_file())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Lists a directory; one that is missing, or no directory, has nothing.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |why| io_at("the data directory", dir, why);
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(why) => return Err(unreadable(why)),
    };
    read.map(|entry| entry.map(|entry| entry.path()).map_err(unreadable))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f";

    fn refusal(dir: &Path) -> String {
        claim_directory(dir).expect_err("is refused").to_string()
    }

    #[test]
    fn an_empty_directory_is_marked_and_stays_ours() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("new/data");
        claim_directory(&dir).expect("is created");
        fs::write(dir.join("notes.txt"), "").expect("writes");
        claim_directory(&dir).expect("has the marker");
        let volume = home.path().join("volume");
        fs::create_dir_all(volume.join("lost+found")).expect("creates");
        claim_directory(&volume).expect("is an empty volume");
    }

    #[test]
    fn directories_of_others_are_refused_by_name() {
        for file in [
            "notes.txt",
            "tmp/letter.odt",
            "parts/wheel.step",
            "tmp/a.parquet",
        ] {
            let home = tempfile::tempdir().expect("a directory");
            let path = home.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("creates");
            fs::write(&path, "mine").expect("writes");
            let why = refusal(home.path());
            assert!(why.contains(file), "{why}");
            assert_eq!(fs::read(&path).expect("is there"), b"mine");
            assert!(!home.path().join(MARKER).exists());
        }
    }

    #[test]
    fn directories_of_older_versions_are_accepted() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path();
        fs::create_dir_all(dir.join("tmp")).expect("creates");
        fs::write(dir.join(format!("tmp/{ID}.parquet")), "").expect("writes");
        fs::write(dir.join("health-host.json"), "").expect("writes");
        claim_directory(dir).expect("is scratch space");
        fs::remove_file(dir.join(MARKER)).expect("removes");
        fs::write(dir.join("notes.txt"), "").expect("writes");
        refusal(dir);
        fs::write(dir.join("tallymill.db"), SQLITE).expect("writes");
        claim_directory(dir).expect("has a database");
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_directory_are_refused() {
        for name in ["tmp", "parts", "tallymill.lock"] {
            let (home, other) = (tempfile::tempdir(), tempfile::tempdir());
            let (home, other) = (home.expect("a directory"), other.expect("a directory"));
            claim_directory(home.path()).expect("is empty");
            std::os::unix::fs::symlink(other.path(), home.path().join(name)).expect("links");
            let why = refusal(home.path());
            assert!(why.contains(name) && why.contains("symbolic link"), "{why}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn other_users_are_shut_out() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a directory");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("opens it");
        claim_directory(home.path()).expect("is empty");
        let mode = fs::metadata(home.path()).expect("reads").permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
    }

    #[test]
    fn only_own_names_are_leftovers() {
        let check = format!(".check-{ID}");
        for name in [&format!("{ID}.parquet"), &check, ".tmpAb3dE9"] {
            assert!(is_temporary(name), "{name}");
        }
        for name in ["a.parquet", ".tmp", ".tmpnotes!", "letter.odt", ".check-me"] {
            assert!(!is_temporary(name), "{name}");
        }
        let id = TransferId::at(crate::model::Instant::default());
        let part = part_name(id, 42, id);
        assert!(is_part(&part), "{part}");
        for name in [
            "a-1-b",
            &part[1..],
            &format!("{part}x"),
            &part.replace("-42-", "-042-"),
        ] {
            assert!(!is_part(name), "{name}");
        }
    }
}
