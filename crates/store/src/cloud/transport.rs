//! HTTP below `object_store`: every answer that is no success becomes an error of one shape, with all that matters of
//! it. `object_store` keeps status and error code to itself, and they decide whether another attempt makes sense.

use std::error::Error;
use std::io;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};

use crate::cloud::Kind;

/// What is shown of a service's message.
const MESSAGE_MAX_CHARACTERS: usize = 300;

/// A batch of one answer has hardly more than this.
const BATCH_MAX_BYTES: usize = 64 << 10;

/// A request that did not succeed; part of the error that `object_store` returns.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The service said no.
    #[error("{asked} answered {status} {said}")]
    Status {
        /// Whom.
        asked: Asked,
        /// Of HTTP.
        status: u16,
        /// The service's own, which says more than the status; may be empty.
        code: String,
        /// Code and message, for people.
        said: String,
    },
    /// There is no answer.
    #[error("{asked} did not answer")]
    Broken {
        /// Whom.
        asked: Asked,
        /// Whether there was a connection.
        is_connected: bool,
        /// Whether the certificate was at fault.
        is_untrusted: bool,
        /// Why not.
        source: HttpError,
    },
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The store itself.
    Store,
    /// The machine, which knows its role if it runs in the cloud.
    Machine,
    /// Whoever gives out tokens.
    Tokens,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Store => "the service",
            Self::Machine => "the metadata service of this machine",
            Self::Tokens => "the token service",
        })
    }
}

/// Gives every client of a store the same connections.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) client: reqwest::Client,
    pub(crate) kind: Kind,
    /// `host:port` of the store, where that is known before the first request.
    pub(crate) authority: Option<String>,
}

impl HttpConnector for Transport {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = self.asked(&request);
        let is_batch = request.uri().query().is_some_and(|query| query.contains("comp=batch"));
        let response = self.client.call(request).await.map_err(|source| broken(asked, source))?;
        if !response.status().is_success() {
            return Err(refused(asked, response).await);
        }
        if is_batch { answer_of_batch(asked, response).await } else { Ok(response) }
    }
}

impl Transport {
    fn asked(&self, request: &HttpRequest) -> Asked {
        let is_store = match self.kind {
            // On every request to a store, and on none for a token.
            Kind::Azure => request.headers().contains_key("x-ms-version"),
            Kind::Gcs => {
                request.uri().authority().map(|authority| authority.as_str()) == self.authority.as_deref()
            }
        };
        match request.uri().host() {
            _ if is_store => Asked::Store,
            Some("169.254.169.254" | "metadata.google.internal" | "metadata") => Asked::Machine,
            _ => Asked::Tokens,
        }
    }
}

fn broken(asked: Asked, source: HttpError) -> HttpError {
    let kind = source.kind();
    let is_untrusted = is_untrusted(&source);
    let is_connected = kind != HttpErrorKind::Connect;
    HttpError::new(kind, Refusal::Broken { asked, is_connected, is_untrusted, source })
}

/// Whether it is the certificate that stands between us. Looks into I/O errors, which do not name what they wrap as
/// their source.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        current = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

async fn refused(asked: Asked, response: HttpResponse) -> HttpError {
    let status = response.status().as_u16();
    let header = response.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let header = header.map(str::to_owned);
    let body = match response.into_body().bytes().await {
        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
        // The status says enough.
        Err(_) => String::new(),
    };
    let code = header.or_else(|| element(&body, "Code").map(str::to_owned)).unwrap_or_default();
    let message = element(&body, "Message").unwrap_or(&body);
    refusal(asked, status, code, message)
}

fn refusal(asked: Asked, status: u16, code: String, message: &str) -> HttpError {
    // One line: what follows are request IDs and what the service signed.
    let message = message.lines().next().unwrap_or_default();
    let message: String = message.chars().take(MESSAGE_MAX_CHARACTERS).collect();
    let said = if code.is_empty() || message.is_empty() {
        format!("{code}{message}")
    } else {
        format!("{code}: {message}")
    };
    HttpError::new(HttpErrorKind::Unknown, Refusal::Status { asked, status, code, said })
}

/// What stands in an element of a small XML answer.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// `object_store` deletes blobs in batches, even of one, and the batch succeeds when what is in it does not.
async fn answer_of_batch(asked: Asked, response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let bytes = body.bytes().await.map_err(|source| broken(asked, source))?;
    if bytes.len() <= BATCH_MAX_BYTES {
        let text = String::from_utf8_lossy(&bytes);
        let status = text.lines().find_map(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|status| status.get(..3)?.parse::<u16>().ok());
        if let Some(status) = status.filter(|status| !(200..300).contains(status)) {
            let code = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("x-ms-error-code").then(|| value.trim().to_owned())
            });
            let code = code.or_else(|| element(&text, "Code").map(str::to_owned)).unwrap_or_default();
            return Err(refusal(asked, status, code, element(&text, "Message").unwrap_or_default()));
        }
    }
    Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(bytes)))
}
