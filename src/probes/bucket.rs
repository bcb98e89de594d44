//! The way to a bucket by the name that it has here.

use std::path::Path;

use super::secret;
use crate::config::bucket::{Address, Bucket};
use crate::sys::s3::Client;

/// The way to the bucket of this name.
///
/// # Errors
/// There is none, or its key is not known.
pub fn client(all: &[Bucket], name: &str) -> Result<Client, String> {
    let bucket = all.iter().find(|it| it.name == name);
    let bucket = bucket.ok_or_else(|| format!("there is no [[bucket]] called {name}"))?;
    secret::read(&bucket.secret).and_then(|secret| Client::to(&bucket.place, &secret))
}

/// The way to the bucket of an object, and its key there; none where it is a path.
///
/// # Errors
/// As [`client`].
pub fn of<'a>(all: &[Bucket], path: &'a Path) -> Option<Result<(Client, &'a str), String>> {
    let address = Address::of(path)?;
    Some(client(all, address.bucket).map(|client| (client, address.key)))
}
