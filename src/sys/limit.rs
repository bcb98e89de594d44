//! A deed that may never end and knows no limit of its own, such as asking a server that accepts and stays mute. A
//! thread does it, and is left behind when the time is over; the end of the program takes it along. For programs
//! that are made for one question: a root program that acts has no thread.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::text;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It has not come yet, and nobody waits for it any more.
    #[error("no answer within {}", text::duration(*.0))]
    Late(Duration),
    /// Whoever was to give it is gone.
    #[error("no answer ever: whoever was asked ended without a word")]
    Never,
    /// There was nobody to ask.
    #[error("no thread to ask in: {0}")]
    NoThread(std::io::Error),
}

/// Does `deed`, and returns what comes of it, or after `limit`. Where there is an answer the thread is gone.
///
/// # Errors
/// See [`NoAnswer`]; unless there was no thread, whatever the deed does may still be done.
pub fn within<T: Send + 'static>(
    limit: Duration,
    deed: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let (send, receive) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("asked".to_owned())
        .spawn(move || {
            // whoever asked may have gone
            let _ = send.send(deed());
        })
        .map_err(NoAnswer::NoThread)?;
    let answer = receive.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => NoAnswer::Late(limit),
        RecvTimeoutError::Disconnected => NoAnswer::Never,
    })?;
    // it has nothing left to do
    let _ = thread.join();
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_that_comes_in_time_comes_back() {
        assert_eq!(within(LONG, || 7).unwrap(), 7);
    }

    #[test]
    fn what_never_ends_is_left_behind() {
        let (_hold, held) = mpsc::channel::<()>();
        let late = within(Duration::from_millis(20), move || held.recv().ok());
        assert!(matches!(late, Err(NoAnswer::Late(_))), "{late:?}");
    }

    #[test]
    fn what_dies_gives_no_answer() {
        let died = within(LONG, || -> u8 { std::panic::panic_any("dies on purpose") });
        assert!(matches!(died, Err(NoAnswer::Never)), "{died:?}");
    }
}
