//! TLS by rustls, with one provider of cryptography (ring). A server must show a certificate that
//! comes from a known root and is for the name we asked for; there is no way to say otherwise.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Fault, local};
use crate::sys::{roots, text};

/// What makes TLS connections, with the roots of `ca_file` or, without one, of the system.
pub fn connector(ca_file: Option<&Path>) -> Result<MakeRustlsConnect, Fault> {
    let roots = trusted(ca_file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Of a system's some may be of a kind that is not known here; of a file's none.
fn trusted(ca_file: Option<&Path>) -> Result<RootCertStore, Fault> {
    let file = ca_file.map(|file| local::resolve(file, local::MAY_HANG)).transpose()?;
    let mut roots = RootCertStore::empty();
    for certificate in roots::certificates(file.as_deref()).map_err(Fault)? {
        match (roots.add(certificate), ca_file) {
            (Err(error), Some(file)) => {
                return Err(Fault(format!("{}: {error}", text::path(file))));
            }
            (Ok(()), _) | (Err(_), None) => {}
        }
    }
    Ok(roots)
}
