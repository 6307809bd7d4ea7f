//! TLS, as the URL asks for it.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::error::RedisError;
use super::target::Target;

/// Speaks TLS over a connection. What is wrong with it shows here, not with the first command.
pub(super) fn over(
    target: &Target,
    host: &str,
    socket: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>, RedisError> {
    let server = target.to_string();
    let wrong = |why: String| RedisError::Tls { server: server.clone(), why };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| wrong(error.to_string()))?;
    let config = config(target).map_err(&wrong)?;
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| wrong(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(stream)
}

fn config(target: &Target) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = match &target.ca_file {
        Some(file) => {
            let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(|error| error.to_string())?,
    };
    let Some((certificate, key)) = &target.own else { return Ok(builder.with_no_client_auth()) };
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", certificate.display());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(|error| wrong(&error))?.collect();
    let chain = chain.map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))
}
