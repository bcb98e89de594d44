//! Standard output. A reader that has gone away (`… | head`) is no failure, a full disk is.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// A person is looking.
    Yes,
    /// A pipe or a file.
    No,
}

impl Colour {
    /// Colours only on a terminal, and not where `NO_COLOR` is set (no-color.org).
    #[must_use]
    pub fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !unwanted { Self::Yes } else { Self::No }
    }
}

/// Whether this program has printed anything.
static HAS_PRINTED: AtomicBool = AtomicBool::new(false);

/// The same, for whoever prints one object and no more.
#[must_use]
pub fn has_printed() -> bool {
    HAS_PRINTED.load(Ordering::Relaxed)
}

/// Prints `text`.
///
/// # Errors
/// It could not be written, for another reason than that nobody reads it any more.
pub fn print(text: &str) -> std::io::Result<()> {
    tell(text).map(|_| ())
}

/// The same, for whoever goes on printing: whether anybody reads it still.
///
/// # Errors
/// It could not be written, for another reason than that.
pub fn tell(text: &str) -> std::io::Result<bool> {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}

/// Says something on standard error: with the time in front, unless the journal adds its own.
pub fn complain(text: &str) {
    let mut err = std::io::stderr().lock();
    for line in text.lines() {
        let at = if super::journal::is_ours() {
            String::new()
        } else {
            format!("{} ", crate::sys::clock::utc_now())
        };
        // there is nowhere left to say that this failed
        let _ = writeln!(err, "{at}{line}");
    }
}
