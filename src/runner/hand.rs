//! A helper and the way to it. One that has done a job well is given the next.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::ChildStdin;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rustix::process::Pid;

use super::helper;
use super::order::{GO, NO, Order};
use super::supervise::Event;
use crate::sys::command::{Ending, Helper};

/// A helper.
#[derive(Debug)]
pub struct Hand {
    /// Which one.
    pub nth: u64,
    /// Its end is what the helper ends by.
    input: Option<ChildStdin>,
    process: Ending,
}

impl Hand {
    /// Starts one, and a thread that hears what it tells.
    ///
    /// # Errors
    /// It could not be started; nothing of it is left.
    pub fn start(nth: u64, worker: &str, send: Sender<Event>) -> std::io::Result<Self> {
        let (input, output, process) =
            Helper::start(&[helper::VERB.into(), worker.into()])?.split();
        let name = format!("helper {nth}");
        std::thread::Builder::new().name(name).stack_size(128 << 10).spawn(move || {
            for line in BufReader::new(output).lines() {
                let told = line.ok().and_then(|line| serde_json::from_str(&line).ok());
                let Some(told) = told else { break };
                if send.send(Event::Told(nth, told)).is_err() {
                    break;
                }
            }
            let _ = send.send(Event::Gone(nth));
        })?;
        Ok(Self { nth, input: Some(input), process })
    }

    /// Gives it a job.
    ///
    /// # Errors
    /// It is gone.
    pub fn give(&mut self, order: &Order) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        match &mut self.input {
            Some(input) => input.write_all(&line),
            None => Err(std::io::Error::other("it was told to end")),
        }
    }

    /// Lets the result of its job go to its place.
    pub fn go(&mut self) {
        if let Some(input) = &mut self.input {
            // one that is gone is heard of
            let _ = input.write_all(GO.as_bytes());
        }
    }

    /// Tells it that the job is its own no more.
    pub fn deny(&mut self) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(NO.as_bytes());
        }
        self.dismiss();
    }

    /// Tells it to end.
    pub fn dismiss(&mut self) {
        drop(self.input.take());
    }

    /// Whether it was not told to end.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.input.is_some()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Kills it, with its group.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Takes its end; one that does not come to it is killed.
    pub fn bury(mut self) {
        self.dismiss();
        if !self.process.within(Duration::from_secs(1)) {
            self.process.kill();
        }
    }
}
