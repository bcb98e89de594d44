//! Asking servers by HTTP: each question within a limit, by roots of our own choice, and never sent on to another place.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::roots;

/// Asks by HTTP, within `limit`: no way round a server's own certificate, and no following where it sends one on.
///
/// # Errors
/// There are no roots to trust.
pub fn agent(url: &str, ca_file: Option<&Path>, limit: Duration) -> Result<Agent, String> {
    // who asks in the clear needs no roots, and a small host may have none
    let found = if url.starts_with("http://") { Vec::new() } else { roots::certificates(ca_file)? };
    let trusted: Vec<_> = found.iter().map(|it| Certificate::from_der(it).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(trusted)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .timeout_global(Some(limit))
        .max_redirects(0)
        .http_status_as_error(false)
        // nothing of an environment, which anybody may have set
        .proxy(None)
        .user_agent(concat!("unwedge/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    Ok(config.into())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form that servers write (RFC 9110, 5.6.7), milliseconds since 1970.
#[must_use]
pub fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|it| it == month)? + 1;
    let moment = format!("{year}-{month:02}-{day}T{time}Z");
    let at = humantime::parse_rfc3339(&moment).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_servers_write_it_and_nothing_else_is() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        for odd in
            ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 99 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(date(odd), None, "{odd}");
        }
    }
}
