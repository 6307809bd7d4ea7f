//! A server that is asked.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use strongroom_repository::monitor::Monitor;
use ureq::SendBody;

use super::error::OpensearchError;
use crate::http::{Answer, Http, HttpError, HttpTarget, Question};

/// The port, where a URL has none.
pub const DEFAULT_PORT: u16 = 9200;
/// How long a server may think.
const PATIENCE: Duration = Duration::from_secs(300);
/// The largest answer that is no page of documents, bytes.
const MOST_BYTES: u64 = 256 << 20;
/// How often a server that is busy is asked again, and how long is waited before the first time; then twice as long each time.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(250);
const JSON: (&str, &str) = ("content-type", "application/json");

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Server {
    /// `opensearch`, `elasticsearch`.
    pub(super) distribution: String,
    /// `2.19.1`.
    pub(super) version: String,
    pub(super) cluster_uuid: String,
}

impl Server {
    /// `(2, 19)`
    pub(super) fn number(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or_default());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    }

    pub(super) fn is_elasticsearch(&self) -> bool {
        self.distribution == "elasticsearch"
    }

    /// Whether it is an OpenSearch of that version or a newer one.
    pub(super) fn is_opensearch_from(&self, version: (u32, u32)) -> bool {
        !self.is_elasticsearch() && self.number() >= version
    }

    /// What it is, where it is none that can be read. From version 8 on Elasticsearch has settings, templates and ways to keep
    /// documents that nobody here knows.
    fn unknown(&self) -> Option<String> {
        if self.version.is_empty() {
            return Some("neither OpenSearch nor Elasticsearch".into());
        }
        let is_known = match self.distribution.as_str() {
            "opensearch" => self.number().0 >= 1,
            "elasticsearch" => self.number().0 == 7,
            other => return Some(format!("{other} {}", self.version)),
        };
        (!is_known).then(|| self.to_string())
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.is_elasticsearch() { "Elasticsearch" } else { "OpenSearch" };
        write!(f, "{name} {}", self.version)
    }
}

/// Asks, and asks again when the server is busy.
pub(super) struct Session<'m> {
    http: Http,
    name: String,
    pub(super) server: Server,
    pub(super) monitor: &'m dyn Monitor,
}

impl<'m> Session<'m> {
    /// Asks the server who it is.
    ///
    /// # Errors
    /// `Http`, `NotSupported`.
    pub(super) fn open(target: &HttpTarget, monitor: &'m dyn Monitor) -> Result<Self, OpensearchError> {
        let name = target.to_string();
        let nobody =
            Server { distribution: String::new(), version: String::new(), cluster_uuid: String::new() };
        let mut session = Self { http: Http::new(target, PATIENCE)?, name, server: nobody, monitor };
        // Once: a server that is away is told at once.
        let said = session.send_once("GET", "/", b"", JSON)?.bytes(MOST_BYTES)?;
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let version = text("/version/number").unwrap_or_default();
        // Elasticsearch does not say its name.
        let distribution = text("/version/distribution").unwrap_or_else(|| "elasticsearch".into());
        let cluster_uuid = text("/cluster_uuid").unwrap_or_default();
        session.server = Server { distribution, version, cluster_uuid };
        match session.server.unknown() {
            Some(what) => Err(OpensearchError::NotSupported { server: session.name, what }),
            None => Ok(session),
        }
    }

    /// Its URL, without a password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    /// `Http`, `Answer`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, OpensearchError> {
        self.ask("GET", path, None)
    }

    /// What there is, or `None` where there is no such thing.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, OpensearchError> {
        match self.get(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// As [`Session::get`].
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, OpensearchError> {
        let text = body.map(Value::to_string);
        let bytes =
            self.send(method, path, text.as_deref().unwrap_or_default().as_bytes(), JSON, MOST_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| self.nonsense(method, path, &error.to_string()))
    }

    /// The bytes of an answer. What changes something, or goes on, is done once only, unless the server says that it did nothing.
    ///
    /// # Errors
    /// `Http`.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        kind: (&str, &str),
        most: u64,
    ) -> Result<Vec<u8>, OpensearchError> {
        self.attempt(method == "GET", || self.send_once(method, path, body, kind)?.bytes(most))
    }

    /// As [`Session::send`], of JSON, where it may be done again.
    ///
    /// # Errors
    /// `Http`.
    pub(super) fn send_again(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        most: u64,
    ) -> Result<Vec<u8>, OpensearchError> {
        let text = body.map(Value::to_string).unwrap_or_default();
        self.attempt(true, || self.send_once(method, path, text.as_bytes(), JSON)?.bytes(most))
    }

    fn attempt(
        &self,
        may_repeat: bool,
        mut send: impl FnMut() -> Result<Vec<u8>, HttpError>,
    ) -> Result<Vec<u8>, OpensearchError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match send() {
                Err(error) if error.status() == Some(429) || (may_repeat && error.is_passing()) => {
                    if self.monitor.is_cancelled() {
                        return Err(error.into());
                    }
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                sent => return Ok(sent?),
            }
        }
        Ok(send()?)
    }

    fn send_once(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
        kind: (&str, &str),
    ) -> Result<Answer, HttpError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: Vec<(&str, &str)> = query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .collect();
        let question = Question { method, path, query: &query, headers: &[kind] };
        match body.is_empty() {
            true => self.http.ask(question),
            false => self.http.send(question, SendBody::from_reader(&mut &body[..])),
        }
    }

    pub(super) fn nonsense(&self, method: &str, path: &str, why: &str) -> OpensearchError {
        OpensearchError::Answer {
            server: self.name.clone(),
            what: format!("{method} {}", path.split('?').next().unwrap_or_default()),
            why: why.to_owned(),
        }
    }
}

impl OpensearchError {
    /// The code with which the server said no.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http(error) => error.status(),
            _ => None,
        }
    }

    /// Whether less at once may work: the answer is too long, or the server has no memory for it.
    pub(super) fn is_too_much(&self) -> bool {
        matches!(self, Self::Http(HttpError::TooLong { .. })) || self.status() == Some(429)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_nobody_knows_are_refused() {
        let server = |distribution: &str, version: &str| Server {
            distribution: distribution.into(),
            version: version.into(),
            cluster_uuid: String::new(),
        };
        for (distribution, version) in
            [("opensearch", "1.0.0"), ("opensearch", "3.8.0"), ("elasticsearch", "7.17.9")]
        {
            assert_eq!(server(distribution, version).unknown(), None);
        }
        assert_eq!(server("elasticsearch", "8.1.0").unknown().unwrap(), "Elasticsearch 8.1.0");
        assert_eq!(server("elasticsearch", "6.8.0").unknown().unwrap(), "Elasticsearch 6.8.0");
        assert_eq!(server("other", "2.1").unknown().unwrap(), "other 2.1");
        assert!(server("elasticsearch", "").unknown().is_some());
    }
}
