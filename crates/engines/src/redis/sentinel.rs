//! Sentinels, who know which server is the master now.

use strongroom_repository::monitor::Monitor;

use super::connection::Connection;
use super::error::RedisError;
use super::info::Info;
use super::resp::Value;
use super::target::Target;

/// The master of that name, as the first sentinel has it whose master says so itself: one that was cut off names one of before.
///
/// # Errors
/// `NoMaster` when none knows it; `Refused` when the master does not let itself be asked.
pub(super) fn master_of(
    target: &Target,
    sentinels: &[(String, u16)],
    master: &str,
    monitor: &dyn Monitor,
) -> Result<Target, RedisError> {
    let mut said = Vec::new();
    for (host, port) in sentinels {
        match ask(&target.at(host, *port), master, monitor) {
            Ok(Some((at, of))) => {
                let found = target.at(&at, of);
                match is_master(&found, monitor) {
                    Ok(true) => return Ok(found),
                    Ok(false) => said.push(format!("{host}:{port} names {found}, which is a replica now")),
                    Err(error @ RedisError::Refused { .. }) => return Err(error),
                    Err(error) => said.push(format!("{host}:{port} names {found}: {}", in_full(&error))),
                }
            }
            Ok(None) => said.push(format!("{host}:{port} does not know it")),
            Err(error) => said.push(in_full(&error)),
        }
    }
    Err(RedisError::NoMaster { master: master.to_owned(), why: said.join("; ") })
}

fn in_full(error: &RedisError) -> String {
    let why = std::error::Error::source(error).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{error}{why}")
}

fn is_master(target: &Target, monitor: &dyn Monitor) -> Result<bool, RedisError> {
    let info = Info::of(&mut Connection::open(target, monitor)?)?;
    Ok(!info.is_replica())
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
