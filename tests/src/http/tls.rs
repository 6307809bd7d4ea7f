//! A server that speaks TLS with a certificate nobody knows.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server on the loopback, for as long as the process lives.
pub struct TlsServer {
    /// `https://127.0.0.1:PORT`
    pub endpoint: String,
    /// Its certificate, in PEM form: whoever trusts it gets answers.
    pub certificate: String,
}

impl TlsServer {
    /// Answers every request, in XML, that there is no such key.
    ///
    /// # Errors
    /// When no certificate can be made, or no port be had.
    pub fn start() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())?;
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for a server with TLS")?;
        let endpoint = format!("https://{}", listener.local_addr()?);
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(connection) = ServerConnection::new(Arc::clone(&config)) else { return };
                answer(&mut StreamOwned::new(connection, stream));
            }
        });
        Ok(Self { endpoint, certificate: made.cert.pem() })
    }
}

fn answer(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    // Whoever does not trust the certificate ends it here.
    while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        request.push(byte[0]);
    }
    // A body that nobody reads would break the connection before the answer is there.
    if String::from_utf8_lossy(&request).to_lowercase().contains("transfer-encoding: chunked") {
        while !request.ends_with(b"\r\n0\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            request.push(byte[0]);
        }
    }
    let text = "<Error><Code>NoSuchKey</Code></Error>";
    let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\nConnection: close", text.len());
    let _ended = write!(stream, "{head}\r\n\r\n{text}").and_then(|()| stream.flush());
}
