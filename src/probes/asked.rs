//! Questions that storage may never answer: a child asks, one for each, and is left alone when it does not come
//! back in time. Its answer is one JSON value on its standard output. It calls itself by its question, so that whoever comes
//! again and again finds the one that still waits, and sends no other after it.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::witness;
use crate::sys::clock::{Deadline, boottime};
use crate::sys::command::Spawned;
use crate::sys::text;

/// A child on its way, or why there is none.
pub struct Asked(io::Result<Spawned>);

/// Starts one that asks what `verb` stands for of a path.
pub fn ask(verb: &str, path: &Path) -> Asked {
    send(verb, path, None)
}

fn send(verb: &str, path: &Path, with: Option<&str>) -> Asked {
    let words = [Some(OsStr::new(verb)), Some(path.as_os_str()), with.map(OsStr::new)];
    let words: Vec<OsString> = words.into_iter().flatten().map(OsStr::to_owned).collect();
    Asked(Spawned::start(&words))
}

/// The same, unless one that this program has sent with this very question has waited for long.
pub fn ask_alone(verb: &str, path: &Path) -> Asked {
    send_alone(verb, path, None)
}

fn send_alone(verb: &str, path: &Path, with: Option<&str>) -> Asked {
    /// A younger one is at work, or about to end.
    const LONG: Duration = Duration::from_secs(5);
    let before = witness::oldest_called(&name_of(verb, path));
    if before.is_some_and(|start| boottime().saturating_sub(start) >= LONG) {
        return Asked(Err(io::Error::other("one that asked before still has no answer")));
    }
    send(verb, path, with)
}

/// Has a child do something at a path with a text, another one each time, within `limit`; none is sent while one before waits
/// for that path, whatever its text was.
///
/// # Errors
/// The refusal, or that there is no answer.
pub fn tell_alone(verb: &str, path: &Path, text: &str, limit: Duration) -> Result<(), String> {
    let asked = send_alone(verb, path, Some(text));
    asked.answer::<Result<(), String>>(Deadline::after(limit), limit, "no answer")?
}

/// Asks alone, and takes an answer that may be a refusal, within `limit`.
///
/// # Errors
/// The refusal, or that there is no answer.
pub fn alone_within<T: DeserializeOwned>(
    verb: &str,
    path: &Path,
    limit: Duration,
) -> Result<T, String> {
    let asked = ask_alone(verb, path);
    asked.answer::<Result<T, String>>(Deadline::after(limit), limit, "no answer")?
}

/// What the child of a question calls itself: another program with the same question has one of its own.
fn name_of(verb: &str, path: &Path) -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_name().unwrap_or_default().as_encoded_bytes();
    let question = [program, verb.as_bytes(), path.as_os_str().as_encoded_bytes()].join(&0);
    format!("ua{}", &text::digest(&question)[..12])
}

/// Whether that is what such a child may call itself.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    name.strip_prefix(b"ua")
        .is_some_and(|it| it.len() == 12 && it.iter().all(u8::is_ascii_hexdigit))
}

/// Asks, and takes an answer that may be a refusal, within `limit`.
///
/// # Errors
/// The refusal, or that there is no answer.
pub fn within<T: DeserializeOwned>(verb: &str, path: &Path, limit: Duration) -> Result<T, String> {
    ask(verb, path).answer::<Result<T, String>>(Deadline::after(limit), limit, "no answer")?
}

impl Asked {
    /// Its answer, waited for until `deadline`, which was `limit` from the start; `late` says what is missing
    /// after that.
    pub fn answer<T: DeserializeOwned>(
        self,
        deadline: Deadline,
        limit: Duration,
        late: &str,
    ) -> Result<T, String> {
        let child = self.0.map_err(|error| format!("start a child for it: {error}"))?;
        // it may have more to say than fits into a pipe
        let Some(said) = child.answer_within(deadline.left()) else {
            return Err(format!("{late} within {}", text::duration(limit)));
        };
        let answer = serde_json::from_slice(&said);
        answer.map_err(|_| "its child ended without an answer".to_owned())
    }
}

/// When these arguments are for such a child: gives its answer, and says how the process should end.
pub fn run_if_asked<T: Serialize>(
    verb: &str,
    args: &[OsString],
    look: impl FnOnce(&Path) -> T,
) -> Option<i32> {
    let [asked, path] = args else { return None };
    (asked == OsStr::new(verb)).then(|| give(verb, path, || look(Path::new(path))))
}

/// The same for one that is given a text.
pub fn run_if_told<T: Serialize>(
    verb: &str,
    args: &[OsString],
    deed: impl FnOnce(&Path, &str) -> T,
) -> Option<i32> {
    let [asked, path, text] = args else { return None };
    let told = || deed(Path::new(path), &text.to_string_lossy());
    (asked == OsStr::new(verb)).then(|| give(verb, path, told))
}

/// Gives an answer under the name of its question; the exit code.
fn give<T: Serialize>(verb: &str, path: &OsStr, answer: impl FnOnce() -> T) -> i32 {
    if let Ok(name) = CString::new(name_of(verb, Path::new(path))) {
        let _ = rustix::thread::set_name(&name);
    }
    let written = serde_json::to_vec(&answer())
        .map_err(io::Error::from)
        .and_then(|answer| io::stdout().write_all(&answer));
    i32::from(written.is_err())
}
