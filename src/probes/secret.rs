//! Secrets: the one line of a file that not everybody may read, or what systemd gave this unit as a credential.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use crate::config::secret::{CREDENTIALS, NONE, Secret};
use crate::sys::text;

/// Longest secret, bytes.
const BYTES_MAX: u64 = 8192;

/// The secret.
///
/// # Errors
/// Why it is not known, without a word of it.
pub fn read(secret: &Secret) -> Result<String, String> {
    let (path, is_own) = match secret {
        Secret::File(path) => (path.clone(), true),
        Secret::Credential(name) => {
            let dir = std::env::var_os("CREDENTIALS_DIRECTORY");
            let dir = dir.map(PathBuf::from).filter(|dir| dir.is_absolute());
            let unit = "systemd gave this unit none (LoadCredential=)";
            (dir.ok_or_else(|| format!("credential {name}: {unit}"))?.join(name), false)
        }
    };
    let found = line(&path, is_own).and_then(|line| match secret {
        Secret::Credential(_) if line == NONE => Err("there is none".to_owned()),
        Secret::File(_) | Secret::Credential(_) => Ok(line),
    });
    found.map_err(|why| match secret {
        Secret::File(path) => format!("{}: {why}", text::path(path)),
        Secret::Credential(name) => format!(
            "credential {name}: {why}; systemd takes it from {CREDENTIALS}/{name} when the unit starts"
        ),
    })
}

/// The one line of a file; `is_closed` where it must not be for everybody's eyes.
///
/// # Errors
/// Why it is not known, without a word of it.
pub fn line(path: &Path, is_closed: bool) -> Result<String, String> {
    // NONBLOCK: a pipe of that name must not keep us waiting for a writer
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| format!("open: {errno}"))?;
    let file = File::from(fd);
    let mode = file.metadata().map_err(|error| error.to_string())?.mode();
    if is_closed && mode & 0o004 != 0 {
        return Err(format!("everybody may read it (mode {:04o}): chmod 640", mode & 0o7777));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| format!("read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        (Some(_), Some(_)) => Err("holds more than one line, expected one".to_owned()),
        (None, _) => Err("is empty, expected one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_that_everybody_may_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        for (mode, text, expected) in [
            (0o640, "https://a/b\n", Ok("https://a/b")),
            (0o644, "https://a/b\n", Err("everybody may read it (mode 0644)")),
            (0o600, "", Err("is empty")),
            (0o600, "a\nb\n", Err("more than one line")),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match (read(&Secret::File(path.clone())), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(why), Err(expected)) => {
                    assert!(why.contains(expected) && !why.contains("https"), "{why}");
                }
                (read, _) => panic!("{read:?}"),
            }
        }
        assert!(read(&Secret::File(dir.path().join("none"))).unwrap_err().contains("open: "));
    }
}
