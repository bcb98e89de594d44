//! TLS by rustls, with one provider of cryptography (ring). A server must show a certificate that
//! comes from a known root and is for the name we asked for; there is no way to say otherwise.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Fault, local};
use crate::sys::text;

/// What makes TLS connections, with the roots of `ca_file` or, without one, of the system.
pub fn connector(ca_file: Option<&Path>) -> Result<MakeRustlsConnect, Fault> {
    let roots = match ca_file {
        Some(file) => roots_of(file)?,
        None => roots_of_the_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn roots_of(file: &Path) -> Result<RootCertStore, Fault> {
    let shown = text::path(file);
    let wrong = |error: &dyn std::fmt::Display| Fault(format!("{shown}: {error}"));
    let mut roots = RootCertStore::empty();
    let file = local::resolve(file, local::MAY_HANG)?;
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"holds no certificate"));
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(Fault::new(
            "this system has no root certificates (package ca-certificates); name one as ca_file",
        ));
    }
    Ok(roots)
}
