//! Servers that are asked over HTTP.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

use crate::percent;
pub use crate::percent::{decoded as percent_decoded, encoded};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(20);
/// How much of an answer that says what is wrong is read, bytes.
const MOST_SAID: u64 = 4 << 10;

/// Which server, and as whom.
#[derive(Clone, Default)]
pub struct HttpTarget {
    /// `https://host:port`, perhaps with a path: what stands in front of all paths. No user, no password.
    base: String,
    user: Option<String>,
    password: Option<String>,
    /// Certificates that are believed in place of the system's, a PEM file.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpTarget")
            .field("base", &self.base)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.base)
    }
}

impl HttpTarget {
    /// `http[s]://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`; a host alone is taken for one of `http`. `default_port` is used
    /// where none is named.
    ///
    /// # Errors
    /// What is wrong with it, without the password.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, HttpError> {
        let wrong = |why| HttpError::Url { why };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            Some(_) => return Err(wrong("it begins with http:// or https://")),
            None => ("http", text),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{}", path.trim_end_matches('/'))),
            None => (rest, String::new()),
        };
        if path.contains(['?', '#']) {
            return Err(wrong("it has no parameters"));
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (user, password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            None => (user.map(decoded).transpose()?, None),
        };
        // The colons of an IPv6 address are inside brackets.
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let host = if has_port { host.to_owned() } else { format!("{host}:{default_port}") };
        let base = format!("{scheme}://{host}{path}").trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| wrong("it is no URL"))?;
        if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() {
            return Err(wrong("it names a host, and a port between 1 and 65535"));
        }
        Ok(Self { base, user, password, ca_file: None })
    }

    /// As whom, where the URL does not say it.
    #[must_use]
    pub fn with_login(mut self, user: Option<String>, password: Option<String>) -> Self {
        self.user = self.user.or(user);
        self.password = self.password.or(password);
        self
    }
}

/// Why a server gave no answer that is good for something.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is none.
    #[error("the server's URL is not understood: {why}")]
    Url {
        /// What it should be.
        why: &'static str,
    },
    /// The file of certificates has none.
    #[error("{file} has no certificates in PEM form")]
    Certificates {
        /// It.
        file: PathBuf,
    },
    /// It could not be reached, or the connection broke.
    #[error("{server} does not answer to {what}")]
    Unreachable {
        /// The server.
        server: String,
        /// `GET /_search`.
        what: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// It says no.
    #[error("{server} answers {what} with {status}: {said}")]
    Refused {
        /// The server.
        server: String,
        /// `GET /_search`.
        what: String,
        /// Its code.
        status: u16,
        /// In its words.
        said: String,
    },
    /// An answer broke off.
    #[error("the answer of {server} to {what} breaks off")]
    Broken {
        /// The server.
        server: String,
        /// `GET /_search`.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// An answer is longer than it may be.
    #[error("the answer of {server} to {what} is longer than {most} bytes")]
    TooLong {
        /// The server.
        server: String,
        /// `GET /_search`.
        what: String,
        /// What it may have.
        most: u64,
    },
}

impl HttpError {
    /// The code with which it said no.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Without the path that was asked for, where that is a secret.
    #[must_use]
    pub fn without_path(mut self) -> Self {
        if let Self::Unreachable { what, .. }
        | Self::Refused { what, .. }
        | Self::Broken { what, .. }
        | Self::TooLong { what, .. } = &mut self
        {
            what.truncate(what.find(' ').unwrap_or(what.len()));
        }
        self
    }

    /// Whether it may work the next time: a server that is busy or starts, a connection that broke.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Broken { .. }
                | Self::Refused { status: 429 | 502 | 503 | 504, .. }
        )
    }
}

/// Connections to a server.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
    server: String,
    /// The value of a header.
    login: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'q> {
    /// `GET`, `POST`.
    pub method: &'q str,
    /// From the base on, with a slash in front; percent-encoded where it needs it.
    pub path: &'q str,
    /// Names and values, not encoded.
    pub query: &'q [(&'q str, &'q str)],
    /// Other headers.
    pub headers: &'q [(&'q str, &'q str)],
}

impl Http {
    /// Nothing is connected yet. `patience` bounds each wait for the server's next byte.
    ///
    /// # Errors
    /// `Certificates`.
    pub fn new(target: &HttpTarget, patience: Duration) -> Result<Self, HttpError> {
        let roots = match &target.ca_file {
            None => RootCerts::PlatformVerifier,
            Some(file) => {
                let none = || HttpError::Certificates { file: file.clone() };
                let pem = std::fs::read(file).map_err(|_| none())?;
                let found: Result<Vec<Certificate<'static>>, _> = ureq::tls::parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                        Ok(_) => None,
                        Err(error) => Some(Err(error)),
                    })
                    .collect();
                let found = found.ok().filter(|found| !found.is_empty()).ok_or_else(none)?;
                RootCerts::Specific(Arc::new(found))
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .max_response_header_size(1 << 20);
        let login = target.user.as_ref().map(|user| {
            let password = target.password.as_deref().unwrap_or_default();
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
        });
        Ok(Self { agent: config.build().new_agent(), server: target.base.clone(), login })
    }

    /// Asks, with nothing more to say.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub fn ask(&self, question: Question<'_>) -> Result<Answer, HttpError> {
        self.send(question, SendBody::none())
    }

    /// Asks, and says more. An answer is one of success: codes from 300 on are errors.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    pub fn send(&self, question: Question<'_>, body: SendBody<'_>) -> Result<Answer, HttpError> {
        let mut url = format!("{}{}", self.server, question.path);
        for (number, (name, value)) in question.query.iter().enumerate() {
            url.push(if number == 0 { '?' } else { '&' });
            url.push_str(&encoded(name));
            url.push('=');
            url.push_str(&encoded(value));
        }
        let what = format!("{} {}", question.method, question.path);
        let unreachable = |source: ureq::Error| HttpError::Unreachable {
            server: self.server.clone(),
            what: what.clone(),
            source: Box::new(source),
        };
        let mut request = Request::builder().method(question.method).uri(url);
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        if let Some(login) = &self.login {
            request = request.header("authorization", login);
        }
        let request = request.body(body).map_err(|error| unreachable(ureq::Error::Http(error)))?;
        let response = self.agent.run(request).map_err(unreachable)?;
        let status = response.status().as_u16();
        if status >= 300 {
            let mut said = String::new();
            let mut text = response.into_body().into_reader().take(MOST_SAID);
            // What of it can be read is told.
            let _ = text.read_to_string(&mut said);
            let said = said.trim().to_owned();
            return Err(HttpError::Refused { server: self.server.clone(), what, status, said });
        }
        Ok(Answer { server: self.server.clone(), what, body: response.into_body() })
    }
}

/// What a server answers.
#[derive(Debug)]
pub struct Answer {
    server: String,
    what: String,
    body: Body,
}

impl Answer {
    /// All of it, as it comes.
    pub fn into_reader(self) -> impl Read + Send + 'static {
        self.body.into_reader()
    }

    /// All of it at once, up to `most` bytes.
    ///
    /// # Errors
    /// `Broken`; `TooLong`.
    pub fn bytes(self, most: u64) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        let read = self.body.into_reader().take(most + 1).read_to_end(&mut bytes);
        match read {
            Ok(read) if read as u64 > most => {
                Err(HttpError::TooLong { server: self.server, what: self.what, most })
            }
            Ok(_) => Ok(bytes),
            Err(source) => Err(HttpError::Broken { server: self.server, what: self.what, source }),
        }
    }
}

fn decoded(text: &str) -> Result<String, HttpError> {
    percent::decoded(text).ok_or(HttpError::Url { why: percent::WHY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_port_and_keep_the_password_to_themselves() {
        let target = HttpTarget::parse("https://me:p%40ss%3A@search.internal/under/", 9200).unwrap();
        assert_eq!(target.base, "https://search.internal:9200/under");
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("me"), Some("p@ss:")));
        assert!(!format!("{target:?} {target}").contains("p@ss"));
        assert_eq!(HttpTarget::parse("localhost", 8123).unwrap().base, "http://localhost:8123");
        assert_eq!(HttpTarget::parse("http://[::1]", 8123).unwrap().base, "http://[::1]:8123");
        assert_eq!(HttpTarget::parse("http://[::1]:9/", 8123).unwrap().base, "http://[::1]:9");
    }

    #[test]
    fn what_is_no_url_is_said() {
        for text in ["ftp://h", "http://", "http://h:99999", "http://u:%zz@h", "http://h/?a=b", "http://a b"]
        {
            assert!(matches!(HttpTarget::parse(text, 1), Err(HttpError::Url { .. })), "{text}");
        }
    }

    #[test]
    fn a_login_of_the_url_goes_first() {
        let target = HttpTarget::parse("http://me@h", 1).unwrap();
        let target = target.with_login(Some("other".into()), Some("secret".into()));
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("me"), Some("secret")));
    }
}
