//! Whether buckets answer: a key that must be open before anything that lies in one is taken. A server that is away is
//! asked again as a queue is, after `[queue] reconnect`, then after twice as long, up to `reconnect_max`, for ever.

use std::sync::mpsc::Sender;
use std::time::Duration;

use super::supervise::Event;
use crate::config::bucket::Bucket;
use crate::probes::bucket::client;
use crate::sys::backoff::Backoff;
use crate::sys::clock::pause;

/// Tells of a bucket whether it answers, whenever it was asked; one that does is asked so often.
pub fn watch(bucket: &Bucket, every: Duration, mut again: Backoff, send: &Sender<Event>) {
    loop {
        // the key may have come meanwhile
        let said = client(std::slice::from_ref(bucket), &bucket.name)
            .and_then(|client| client.answers().map_err(|why| why.to_string()));
        let wait = if said.is_ok() { every } else { again.next_delay() };
        if said.is_ok() {
            again.reset();
        }
        if send.send(Event::Bucket(bucket.name.clone(), said)).is_err() {
            return;
        }
        pause(wait);
    }
}
