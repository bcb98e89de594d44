//! Whether buckets answer: a key that must be open before anything that lies in one is taken. A server that is away is
//! asked again after 5 s, then after twice as long, up to 2 min, for ever.

use std::sync::mpsc::Sender;
use std::time::Duration;

use super::supervise::Event;
use crate::config::bucket::Bucket;
use crate::probes::bucket::client;
use crate::sys::clock::pause;

/// The first wait after one that does not, and the longest.
const AGAIN_FIRST: Duration = Duration::from_secs(5);
const AGAIN_LAST: Duration = Duration::from_secs(120);

/// Tells of a bucket whether it answers, whenever it was asked; one that does is asked so often.
pub fn watch(bucket: &Bucket, every: Duration, send: &Sender<Event>) {
    let mut again = AGAIN_FIRST;
    loop {
        // the key may have come meanwhile
        let said = client(std::slice::from_ref(bucket), &bucket.name)
            .and_then(|client| client.answers().map_err(|why| why.to_string()));
        let wait = if said.is_ok() { every } else { again };
        again = if said.is_ok() { AGAIN_FIRST } else { (again * 2).min(AGAIN_LAST) };
        if send.send(Event::Bucket(bucket.name.clone(), said)).is_err() {
            return;
        }
        pause(wait);
    }
}
