//! Asking a server, over its HTTP interface.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::SendBody;

use super::error::ClickHouseError;
use crate::http::{Answer, Http, HttpTarget, Question};

/// How long the server may be silent: it may have to sort what it sends.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Most of an answer that is no data, bytes.
const MOST_ANSWER: u64 = 256 << 20;
/// What a query may be long, bytes: one names all parts of a partition.
const MOST_QUERY: &str = "16777216";

/// What a profile may have otherwise, and a backup must not: all rows of a part, as they lie in it, or an error.
const PLAINLY: [(&str, &str); 15] = [
    ("final", "0"),
    ("limit", "0"),
    ("offset", "0"),
    ("additional_table_filters", "{}"),
    ("additional_result_filter", ""),
    ("apply_deleted_mask", "1"),
    ("apply_patch_parts", "1"),
    ("apply_mutations_on_fly", "0"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("result_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("sort_overflow_mode", "throw"),
    ("timeout_overflow_mode", "throw"),
    ("timeout_overflow_mode_leaf", "throw"),
];

/// A server.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    server: String,
    /// What it may be told how to do.
    settings: BTreeSet<String>,
    /// `26.9.2.1`
    pub(super) version: String,
    /// In which it writes times.
    pub(super) timezone: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct About {
    version: String,
    timezone: String,
}

impl Session {
    /// Asks which server it is.
    ///
    /// # Errors
    /// `Server`, `Answer`.
    pub(super) fn open(target: &HttpTarget) -> Result<Self, ClickHouseError> {
        let what = || format!("the server {target} cannot be used");
        let http =
            Http::new(target, PATIENCE).map_err(|source| ClickHouseError::Server { what: what(), source })?;
        let mut session = Self {
            http,
            server: target.to_string(),
            settings: BTreeSet::from(["output_format_json_quote_64bit_integers".to_owned()]),
            version: String::new(),
            timezone: String::new(),
        };
        let about: About = session.ask_one(&what(), "SELECT version() AS version, timezone() AS timezone")?;
        (session.version, session.timezone) = (about.version, about.timezone);
        let names: Vec<Named> = session.ask(&what(), "SELECT name FROM system.settings")?;
        session.settings = names.into_iter().map(|named| named.name).collect();
        Ok(session)
    }

    /// First number of its version: 18 and 26 are years.
    pub(super) fn year(&self) -> u32 {
        self.version.split('.').next().and_then(|year| year.parse().ok()).unwrap_or_default()
    }

    /// Whether it knows a setting.
    pub(super) fn knows(&self, setting: &str) -> bool {
        self.settings.contains(setting)
    }

    /// The rows of an answer.
    ///
    /// # Errors
    /// `Server`, `Answer`.
    pub(super) fn ask<T: DeserializeOwned>(&self, what: &str, sql: &str) -> Result<Vec<T>, ClickHouseError> {
        self.ask_with(what, sql, &[])
    }

    fn ask_with<T: DeserializeOwned>(
        &self,
        what: &str,
        sql: &str,
        settings: &[(&str, &str)],
    ) -> Result<Vec<T>, ClickHouseError> {
        let sql = format!("{sql} FORMAT JSONEachRow");
        let settings = [settings, &[("output_format_json_quote_64bit_integers", "0")]].concat();
        let answer = self.send(what, &sql, &settings)?;
        let bytes = answer.bytes(MOST_ANSWER);
        let bytes = bytes.map_err(|source| ClickHouseError::Server { what: what.to_owned(), source })?;
        let wrong = |why: String| ClickHouseError::Answer { what: what.to_owned(), why };
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).map_err(|error| match exception_in(line.as_bytes()) {
                    Some(said) => wrong(said),
                    None => wrong(error.to_string()),
                })
            })
            .collect()
    }

    /// The only row of an answer.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn ask_one<T: DeserializeOwned>(&self, what: &str, sql: &str) -> Result<T, ClickHouseError> {
        let why = || ClickHouseError::Answer { what: what.to_owned(), why: "it has no rows".into() };
        self.ask(what, sql)?.pop().ok_or_else(why)
    }

    /// As [`Session::ask_one`], with all that makes values look alike in every version.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn ask_settled<T: DeserializeOwned>(
        &self,
        what: &str,
        sql: &str,
    ) -> Result<T, ClickHouseError> {
        let why = || ClickHouseError::Answer { what: what.to_owned(), why: "it has no rows".into() };
        self.ask_with(what, sql, &[("output_format_decimal_trailing_zeros", "1")])?.pop().ok_or_else(why)
    }

    /// An answer as it is written.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn text(
        &self,
        what: &str,
        sql: &str,
        settings: &[(&str, &str)],
    ) -> Result<String, ClickHouseError> {
        let answer = self.send(what, sql, settings)?;
        let bytes = answer.bytes(MOST_ANSWER);
        let bytes = bytes.map_err(|source| ClickHouseError::Server { what: what.to_owned(), source })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Has something done.
    ///
    /// # Errors
    /// `Server`, with what it is for.
    pub(super) fn run(
        &self,
        what: &str,
        sql: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), ClickHouseError> {
        let answer = self.send(what, sql, settings)?;
        let bytes = answer.bytes(MOST_ANSWER);
        let bytes = bytes.map_err(|source| ClickHouseError::Server { what: what.to_owned(), source })?;
        match exception_in(&bytes) {
            Some(said) => Err(ClickHouseError::Answer { what: what.to_owned(), why: said }),
            None => Ok(()),
        }
    }

    /// The stream that answers a query.
    ///
    /// # Errors
    /// `Server`.
    pub(super) fn read(
        &self,
        what: &str,
        sql: &str,
        settings: &[(&str, &str)],
    ) -> Result<impl Read + Send + use<>, ClickHouseError> {
        Ok(self.send(what, sql, settings)?.into_reader())
    }

    /// Inserts a stream.
    ///
    /// # Errors
    /// `Server`.
    pub(super) fn insert(
        &self,
        what: &str,
        sql: &str,
        settings: &[(&str, &str)],
        body: &mut dyn Read,
    ) -> Result<(), ClickHouseError> {
        let mut query = vec![("query", sql)];
        query.extend(self.known(settings));
        let question = Question { method: "POST", path: "/", query: &query, headers: &[] };
        let failed = |source| ClickHouseError::Server { what: what.to_owned(), source };
        let mut body = body;
        let answer = self.http.send(question, SendBody::from_reader(&mut body)).map_err(failed)?;
        let bytes = answer.bytes(MOST_ANSWER).map_err(failed)?;
        match exception_in(&bytes) {
            Some(why) => Err(ClickHouseError::Answer { what: what.to_owned(), why }),
            None => Ok(()),
        }
    }

    fn send(&self, what: &str, sql: &str, settings: &[(&str, &str)]) -> Result<Answer, ClickHouseError> {
        let mut query = self.known(&[("max_query_size", MOST_QUERY), ("max_ast_elements", "1000000")]);
        query.extend(self.known(&PLAINLY));
        query.extend(self.known(settings));
        let question = Question { method: "POST", path: "/", query: &query, headers: &[] };
        let mut body = sql.as_bytes();
        let sent = self.http.send(question, SendBody::from_reader(&mut body));
        sent.map_err(|source| ClickHouseError::Server { what: what.to_owned(), source })
    }

    /// Those that it knows: others it refuses.
    fn known<'s>(&self, settings: &[(&'s str, &'s str)]) -> Vec<(&'s str, &'s str)> {
        let of_the_interface = ["database", "wait_end_of_query"];
        let is_known = |name: &str| self.knows(name) || of_the_interface.contains(&name);
        settings.iter().copied().filter(|(name, _)| is_known(name)).collect()
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.server)
    }
}

/// What a server says in the middle of an answer that it began as one of success.
pub(super) fn exception_in(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let at = text.rfind("DB::Exception").map(|at| text[..at].rfind("Code: ").unwrap_or(at))?;
    let said = text[at..].lines().next().unwrap_or_default();
    Some(said.chars().take(1000).collect())
}

/// A name as ClickHouse reads it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text as ClickHouse reads it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quoted("a`b\\"), "`a\\`b\\\\`");
        assert_eq!(literal("it's \\"), "'it\\'s \\\\'");
    }

    #[test]
    fn exceptions_in_the_middle_are_found() {
        let old = b"\x01\x02Code: 395, e.displayText() = DB::Exception: no, e.what() = DB::Exception\n";
        assert!(exception_in(old).unwrap().starts_with("Code: 395"));
        let new = b"xx\r\n__exception__\r\nabcdef\r\nCode: 395. DB::Exception: no: while executing. (X)\n33 abcdef\r\n__exception__\r\n";
        assert!(exception_in(new).unwrap().starts_with("Code: 395. DB::Exception: no"));
        assert_eq!(exception_in(b"all is well"), None);
    }
}
