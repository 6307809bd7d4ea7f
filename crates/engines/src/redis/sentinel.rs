//! Sentinels, who know which server is the master now.

use strongroom_repository::monitor::Monitor;

use super::connection::Connection;
use super::error::RedisError;
use super::resp::Value;
use super::target::Target;

/// The master of that name, as the first sentinel that answers has it.
///
/// # Errors
/// `NoMaster` when none knows it.
pub(super) fn master_of(
    target: &Target,
    sentinels: &[(String, u16)],
    master: &str,
    monitor: &dyn Monitor,
) -> Result<Target, RedisError> {
    let mut said = Vec::new();
    for (host, port) in sentinels {
        match ask(&target.at(host, *port), master, monitor) {
            Ok(Some((host, port))) => return Ok(target.at(&host, port)),
            Ok(None) => said.push(format!("{host}:{port} does not know it")),
            Err(error) => {
                let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
                said.push(format!("{error}{why}"));
            }
        }
    }
    Err(RedisError::NoMaster { master: master.to_owned(), why: said.join("; ") })
}

fn ask(sentinel: &Target, master: &str, monitor: &dyn Monitor) -> Result<Option<(String, u16)>, RedisError> {
    let question: [&[u8]; 3] = [b"SENTINEL", b"get-master-addr-by-name", master.as_bytes()];
    let mut connection = Connection::bare(sentinel, monitor)?;
    let answer = match connection.ask(&question) {
        // Most let anybody ask; those that do not have the credentials of the servers.
        Err(RedisError::Refused { said, .. }) if said.starts_with("NOAUTH") => {
            Connection::open(sentinel, monitor)?.ask(&question)?
        }
        answer => answer?,
    };
    match answer {
        Value::List(found) => match found.as_slice() {
            [host, port] => Ok(port.text().parse().ok().map(|port| (host.text(), port))),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}
