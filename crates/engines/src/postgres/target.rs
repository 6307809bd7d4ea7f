//! Which server, as libpq's users say it: a URL, `key=value` pairs, or nothing, when `PG*` variables, the service file and
//! `.pgpass` say all. PostgreSQL's own programs read these; what is done here is to give each of them another database, and
//! to keep the password out of the list of processes.

use std::process::Command;

use super::error::PostgresError;
use crate::percent::{self, encoded};

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    form: Form,
    password: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Form {
    /// The environment says it.
    #[default]
    Environment,
    /// Up to the database's name; that; and the parameters behind it, each as `key=value`.
    Url { server: String, database: String, parameters: Vec<String> },
    /// `key=value` pairs.
    Pairs(Vec<(String, String)>),
}

impl Target {
    /// A connection string as libpq takes it (<https://www.postgresql.org/docs/current/libpq-connect.html>); an empty one
    /// leaves all to the environment.
    ///
    /// # Errors
    /// `Target`.
    pub fn parse(text: &str) -> Result<Self, PostgresError> {
        let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
        match rest {
            Some(rest) => Self::of_url(rest),
            None if text.trim().is_empty() => Ok(Self::default()),
            None if text.contains('=') => Self::of_pairs(text),
            // libpq takes a single word for the name of a database.
            None => Ok(Self { form: Form::Pairs(vec![("dbname".into(), text.into())]), password: None }),
        }
    }

    fn of_url(rest: &str) -> Result<Self, PostgresError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, database) = path.split_once('/').unwrap_or((path, ""));
        let (user, hosts) = match server.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, server),
        };
        let (user, mut password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user), Some(decoded(password)?)),
            None => (user, None),
        };
        let mut parameters = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("password", value)) => password = Some(decoded(value)?),
                Some(_) => parameters.push(parameter.to_owned()),
                None => {
                    return Err(PostgresError::Target { text: parameter.into(), why: "write name=value" });
                }
            }
        }
        let server = user.map_or_else(|| hosts.to_owned(), |user| format!("{user}@{hosts}"));
        Ok(Self { form: Form::Url { server, database: database.to_owned(), parameters }, password })
    }

    fn of_pairs(text: &str) -> Result<Self, PostgresError> {
        let (mut pairs, mut password) = (Vec::new(), None);
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (key, behind) = rest
                .split_once('=')
                .ok_or(PostgresError::Target { text: rest.into(), why: "write name=value" })?;
            let (value, behind) = value_of(behind.trim_start())?;
            match key.trim() {
                "password" => password = Some(value),
                key => pairs.push((key.to_owned(), value)),
            }
            rest = behind.trim_start();
        }
        Ok(Self { form: Form::Pairs(pairs), password })
    }

    /// The hosts that it names, or folders of sockets.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let of_parameter = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match &self.form {
            Form::Environment => {
                std::env::var("PGHOST").map(|hosts| of_parameter(&hosts)).unwrap_or_default()
            }
            Form::Url { server, parameters, .. } => {
                let hosts = server.rsplit_once('@').map_or(server.as_str(), |(_, hosts)| hosts);
                let named = hosts.split(',').map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host));
                let given = parameters.iter().filter_map(|one| one.strip_prefix("host="));
                let given =
                    given.filter_map(|hosts| decoded(hosts).ok()).flat_map(|hosts| of_parameter(&hosts));
                let named = named.filter_map(|host| decoded(host).ok());
                named.chain(given).filter(|host| !host.is_empty()).collect()
            }
            Form::Pairs(pairs) => {
                let hosts = pairs.iter().filter(|(key, _)| key == "host" || key == "hostaddr");
                hosts.flat_map(|(_, hosts)| of_parameter(hosts)).collect()
            }
        }
    }

    /// The connection string for one of its databases; its own, or the user's default, for none.
    #[must_use]
    pub(super) fn to_database(&self, database: Option<&str>) -> Option<String> {
        match &self.form {
            Form::Environment => database.map(|database| pair("dbname", database)),
            Form::Url { server, database: own, parameters } => {
                let database = database.map_or_else(|| own.clone(), encoded);
                let query = parameters.join("&");
                let mark = if query.is_empty() { "" } else { "?" };
                Some(format!("postgresql://{server}/{database}{mark}{query}"))
            }
            Form::Pairs(pairs) => {
                let others = pairs.iter().filter(|(key, _)| database.is_none() || key != "dbname");
                let others = others.map(|(key, value)| pair(key, value));
                let all = others.chain(database.map(|database| pair("dbname", database)));
                Some(all.collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// The same server, for commands of the replication protocol.
    pub(super) fn for_replication(&self) -> Self {
        let mut target = self.clone();
        match &mut target.form {
            Form::Environment => target.form = Form::Pairs(vec![("replication".into(), "true".into())]),
            Form::Url { parameters, .. } => parameters.push("replication=true".into()),
            Form::Pairs(pairs) => pairs.push(("replication".into(), "true".into())),
        }
        target
    }

    /// A program of PostgreSQL's that connects there and asks nobody.
    pub(super) fn connect(&self, command: &mut Command, database: Option<&str>) {
        if let Some(text) = self.to_database(database) {
            command.arg(format!("--dbname={text}"));
        }
        command.arg("--no-password").env("PGCLIENTENCODING", "UTF8");
        if std::env::var_os("PGAPPNAME").is_none() {
            command.env("PGAPPNAME", "strongroom");
        }
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
    }
}

/// A value of a pair, and what follows it: up to a space, or in quotes; a backslash takes the next character as it is.
fn value_of(text: &str) -> Result<(String, &str), PostgresError> {
    let mut value = String::new();
    let (is_quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if is_quoted => return Ok((value, &body[at + 1..])),
            space if space.is_whitespace() && !is_quoted => return Ok((value, &body[at..])),
            character => value.push(character),
        }
    }
    match is_quoted {
        true => Err(PostgresError::Target { text: "'".into(), why: "a quoted value does not end" }),
        false => Ok((value, "")),
    }
}

fn pair(key: &str, value: &str) -> String {
    format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn decoded(text: &str) -> Result<String, PostgresError> {
    percent::decoded(text).ok_or(PostgresError::Target { text: "%".into(), why: percent::WHY })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str, database: Option<&str>) -> (Option<String>, Option<String>) {
        let target = Target::parse(text).unwrap();
        (target.to_database(database), target.password)
    }

    #[test]
    fn urls_go_to_other_databases_and_show_no_password() {
        let url = "postgres://me:p%40ss%2Fw@db1:5433,db2/shop?sslmode=verify-full&application_name=x";
        let (own, password) = to(url, None);
        assert_eq!(own.unwrap(), "postgresql://me@db1:5433,db2/shop?sslmode=verify-full&application_name=x");
        assert_eq!(password.unwrap(), "p@ss/w");
        assert_eq!(
            to(url, Some("a b/c")).0.unwrap(),
            "postgresql://me@db1:5433,db2/a%20b%2Fc?sslmode=verify-full&application_name=x"
        );
        let (own, password) = to("postgresql:///?host=/run/pg&password=geheim", Some("x"));
        assert_eq!(
            (own.unwrap(), password.unwrap()),
            ("postgresql:///x?host=/run/pg".into(), "geheim".into())
        );
    }

    #[test]
    fn pairs_go_to_other_databases_and_show_no_password() {
        let text = r"host=db1 port = 5433 password='it\'s so' dbname=shop options='-c x=1'";
        let (own, password) = to(text, None);
        assert_eq!(own.unwrap(), "host='db1' port='5433' dbname='shop' options='-c x=1'");
        assert_eq!(password.unwrap(), "it's so");
        assert_eq!(
            to(text, Some(r"o'\x")).0.unwrap(),
            r"host='db1' port='5433' options='-c x=1' dbname='o\'\\x'"
        );
        assert_eq!(to("shop", None).0.unwrap(), "dbname='shop'");
        assert_eq!(to("service=prod", Some("x")).0.unwrap(), "service='prod' dbname='x'");
    }

    #[test]
    fn hosts_are_those_that_are_named() {
        let hosts = |text: &str| Target::parse(text).unwrap().hosts();
        assert_eq!(hosts("postgres://me@db1:5433,db2/shop"), ["db1", "db2"]);
        assert_eq!(hosts("postgresql:///?host=/run/pg"), ["/run/pg"]);
        assert_eq!(hosts("postgresql://%2Frun%2Fpg/x"), ["/run/pg"]);
        assert_eq!(hosts("host=db1,db2 port=5"), ["db1", "db2"]);
        assert!(hosts("service=prod").is_empty());
    }

    #[test]
    fn the_environment_may_say_it_all() {
        assert_eq!(to("", None), (None, None));
        assert_eq!(to(" ", Some("x")).0.unwrap(), "dbname='x'");
    }

    #[test]
    fn what_libpq_would_not_take_is_refused_without_a_password_in_the_message() {
        for text in [
            "postgres://me:geheim@h/d?x",
            "host=h password='geheim",
            "postgres://me:geheim%4@h",
            "host=h geheim",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(!error.contains("geheim") || text.starts_with("host=h g"), "{error}");
        }
    }
}
