//! Which server, and as whom.

use std::fmt;
use std::path::PathBuf;

use super::error::RedisError;
use crate::percent;

/// Of servers.
const PORT: u16 = 6379;
/// Of sentinels.
const SENTINEL_PORT: u16 = 26379;

/// Where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// Whoever these sentinels say is the master of this name.
    Sentinel {
        sentinels: Vec<(String, u16)>,
        master: String,
    },
}

/// A server, and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) place: Place,
    pub(super) has_tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The database of the URL.
    pub(super) database: Option<u64>,
    /// Certificates that are believed in place of the system's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Who this is, to a server that asks: certificates and the key, PEM files.
    pub(super) own: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("place", &self.place).field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
            Place::Sentinel { sentinels, master } => {
                let (host, port) = sentinels.first().cloned().unwrap_or_default();
                write!(f, "{master} of sentinel {host}:{port}")
            }
        }
    }
}

impl Target {
    /// `redis[s]://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, `unix:///SOCKET`,
    /// `redis[s]-sentinel://[USER[:PASSWORD]@]HOST[:PORT],.../MASTER[/DATABASE]`; `valkey` and `valkeys` are the same.
    /// Behind a `?`: `ca_file`, `cert_file`, `key_file`, `db`.
    ///
    /// # Errors
    /// `Url`, without the password.
    pub fn parse(text: &str) -> Result<Self, RedisError> {
        let wrong = |why| RedisError::Url { why };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None if text.is_empty() => return Err(wrong("there is none: give --url (REDIS_URL)")),
            None => ("redis", text),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match scheme {
            "unix" => match rest.split_once('@') {
                Some((user, path)) => (format!("{user}@"), path.to_owned()),
                None => (String::new(), rest.to_owned()),
            },
            _ => match rest.split_once('/') {
                Some((authority, path)) => (authority.to_owned(), path.to_owned()),
                None => (rest.to_owned(), String::new()),
            },
        };
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority.as_str()),
        };
        let (user, password) = match user {
            Some(user) => match user.split_once(':') {
                Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
                None => (Some(decoded(user)?), None),
            },
            None => (None, None),
        };
        let (place, has_tls, database) = match scheme {
            "redis" | "valkey" | "rediss" | "valkeys" => {
                let (host, port) = host_and_port(hosts, PORT)?;
                (Place::Tcp { host, port }, scheme.ends_with("ss") || scheme == "valkeys", path)
            }
            "unix" => (Place::Unix(PathBuf::from(decoded(&path)?)), false, String::new()),
            "redis-sentinel" | "rediss-sentinel" | "valkey-sentinel" | "valkeys-sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((&path, ""));
                if master.is_empty() {
                    return Err(wrong("which master? write redis-sentinel://HOST,HOST/MASTER"));
                }
                let sentinels: Result<Vec<_>, _> =
                    hosts.split(',').map(|host| host_and_port(host, SENTINEL_PORT)).collect();
                let place = Place::Sentinel { sentinels: sentinels?, master: decoded(master)? };
                (place, scheme.starts_with("rediss") || scheme.starts_with("valkeys"), database.to_owned())
            }
            _ => return Err(wrong("it begins with redis://, rediss://, unix:// or redis-sentinel://")),
        };
        let number = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| wrong("a database of it is a number")),
        };
        let mut target = Self {
            place,
            has_tls,
            user: user.filter(|user| !user.is_empty()),
            password,
            database: number(&database)?,
            ca_file: None,
            own: None,
        };
        target.take_parameters(query, number)?;
        Ok(target)
    }

    fn take_parameters(
        &mut self,
        query: &str,
        number: impl Fn(&str) -> Result<Option<u64>, RedisError>,
    ) -> Result<(), RedisError> {
        let wrong = |why| RedisError::Url { why };
        let (mut certificate, mut key) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) =
                parameter.split_once('=').ok_or_else(|| wrong("write name=value behind the ?"))?;
            let value = decoded(value)?;
            match name {
                "ca_file" => self.ca_file = Some(value.into()),
                "cert_file" => certificate = Some(PathBuf::from(value)),
                "key_file" => key = Some(PathBuf::from(value)),
                "db" => self.database = number(&value)?,
                _ => return Err(wrong("behind the ? it takes ca_file, cert_file, key_file and db")),
            }
        }
        self.own = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("cert_file and key_file go together")),
        };
        Ok(())
    }

    /// A password for a URL that has none.
    #[must_use]
    pub fn or_password(mut self, password: Option<String>) -> Self {
        self.password = self.password.or(password.filter(|password| !password.is_empty()));
        self
    }

    /// The database that the URL names, if it names one.
    #[must_use]
    pub fn named_database(&self) -> Option<u64> {
        self.database
    }

    /// Another server that takes the same credentials.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        Self { place: Place::Tcp { host: host.to_owned(), port }, ..self.clone() }
    }

    /// A socket of a server of one's own.
    pub(super) fn socket(path: PathBuf) -> Self {
        Self {
            place: Place::Unix(path),
            has_tls: false,
            user: None,
            password: None,
            database: None,
            ca_file: None,
            own: None,
        }
    }
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), RedisError> {
    let wrong = |why| RedisError::Url { why };
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = match port {
        None | Some("") => default,
        Some(port) => port.parse().map_err(|_| wrong("its port is no number below 65536"))?,
    };
    Ok((host.to_owned(), port))
}

fn decoded(text: &str) -> Result<String, RedisError> {
    percent::decoded(text).ok_or(RedisError::Url { why: percent::WHY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_as_whom() {
        let target = Target::parse("redis://me:p%40ss%2Fw@db1:7000/3").unwrap();
        assert_eq!(target.to_string(), "db1:7000");
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("me"), Some("p@ss/w")));
        assert_eq!((target.database, target.has_tls), (Some(3), false));
        let target = Target::parse("rediss://:secret@[::1]?ca_file=/a%20b").unwrap();
        assert_eq!((target.to_string(), target.has_tls), ("[::1]:6379".into(), true));
        assert_eq!((target.user.clone(), target.password.as_deref()), (None, Some("secret")));
        assert_eq!(target.ca_file.unwrap(), PathBuf::from("/a b"));
        assert_eq!(Target::parse("unix:///run/redis.sock?db=2").unwrap().to_string(), "/run/redis.sock");
        let target = Target::parse("redis-sentinel://a:1,b/main/2").unwrap();
        let sentinels = vec![("a".into(), 1), ("b".into(), 26379)];
        assert_eq!(target.place, Place::Sentinel { sentinels, master: "main".into() });
        assert!(!target.has_tls && Target::parse("rediss-sentinel://a/main").unwrap().has_tls);
        assert!(
            Target::parse("valkeys://x").unwrap().has_tls && !Target::parse("valkey://x").unwrap().has_tls
        );
    }

    #[test]
    fn what_leads_nowhere_is_refused_and_the_password_not_repeated() {
        for text in [
            "",
            "http://:geheim@x",
            "redis://:geheim@h:x",
            "redis://:geheim%4@h",
            "redis://h/x",
            "redis-sentinel://:geheim@h",
            "rediss://:geheim@h?cert_file=a",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
        assert!(!format!("{:?}", Target::parse("redis://:geheim@h").unwrap()).contains("geheim"));
    }
}
