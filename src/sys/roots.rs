//! The certificates that a server's must come from: those of one file, or of the system.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::text;

/// They; of a file all, and a file with anything else in it is refused.
///
/// # Errors
/// The file cannot be read, or there are none.
pub fn certificates(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs().certs;
        let none =
            "this system has no root certificates (package ca-certificates); name one as ca_file";
        return if found.is_empty() { Err(none.to_owned()) } else { Ok(found) };
    };
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", text::path(file));
    let listed = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    let found: Vec<_> = listed.collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(wrong(&"holds no certificate")) } else { Ok(found) }
}
