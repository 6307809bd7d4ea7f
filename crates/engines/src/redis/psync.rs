//! The dump that a server sends to a replica.

use std::io::Read;

use super::connection::{Connection, write_command};
use super::error::RedisError;
use super::rdb::RdbError;

/// Of a transfer whose length is not known.
const MARK_BYTES: usize = 40;

/// What is to follow the dump.
pub(super) enum Transfer {
    /// Nothing: so many bytes are all of it.
    Length(u64),
    /// These bytes.
    Mark([u8; MARK_BYTES]),
}

/// Asks for a dump. What is read from the connection then is the dump.
///
/// # Errors
/// `Refused`, `NotReady`, `Answer`, `Broken`.
pub(super) fn ask(connection: &mut Connection<'_>) -> Result<Transfer, RedisError> {
    // Servers before 7.0 know no `rdb-only`, and would go on with what is written meanwhile: nobody reads it.
    for option in [[&b"capa"[..], b"eof"], [b"rdb-only", b"1"]] {
        match connection.ask(&[b"REPLCONF", option[0], option[1]]) {
            Ok(_) => {}
            Err(RedisError::Refused { said, .. }) if !is_no_right(&said) => {}
            Err(error) => return Err(error),
        }
    }
    let mut command = Vec::new();
    write_command(&mut command, &[b"PSYNC", b"?", b"-1"]);
    connection.send(&command)?;
    let answer = line(connection)?;
    if !answer.starts_with("+FULLRESYNC ") {
        let said = answer.trim_start_matches(['-', '+']).to_owned();
        let (server, command) = (connection.server.clone(), "PSYNC".to_owned());
        return Err(match answer.starts_with("-LOADING") || answer.contains("NOMASTERLINK") {
            true => RedisError::NotReady { server, why: said },
            false => RedisError::Refused { server, command, said },
        });
    }
    let announced = line(connection)?;
    let wrong = |what: &str| RedisError::Answer {
        server: connection.server.clone(),
        command: "PSYNC",
        what: what.to_owned(),
    };
    if let Some(mark) = announced.strip_prefix("$EOF:") {
        let mark = mark.as_bytes().try_into().map_err(|_| wrong("the mark of its end is no 40 bytes"))?;
        return Ok(Transfer::Mark(mark));
    }
    match announced.strip_prefix('$').and_then(|length| length.parse().ok()) {
        Some(length) => Ok(Transfer::Length(length)),
        None => Err(wrong(&announced)),
    }
}

/// A right that is missing is missing for what comes next too.
fn is_no_right(said: &str) -> bool {
    said.starts_with("NOPERM") || said.starts_with("NOAUTH")
}

/// A line. Empty ones say that the server still works on it.
fn line(connection: &mut Connection<'_>) -> Result<String, RedisError> {
    loop {
        let line = connection.line()?;
        if !line.is_empty() {
            return Ok(line);
        }
    }
}

impl Transfer {
    /// Whether what follows the dump, after so many bytes of it, is what was announced.
    ///
    /// # Errors
    /// `Malformed`, `Truncated`.
    pub(super) fn check_end<R: Read>(&self, input: &mut super::rdb::Input<R>) -> Result<(), RdbError> {
        let offset = input.offset();
        match self {
            Self::Length(length) if *length == offset => Ok(()),
            Self::Length(_) => {
                Err(RdbError::Malformed { what: "a dump of another length than announced", offset })
            }
            Self::Mark(mark) => {
                let mut found = [0; MARK_BYTES];
                let mut filled = 0;
                while filled < MARK_BYTES {
                    match input.read_some(&mut found[filled..])? {
                        0 => return Err(RdbError::Truncated { offset: offset + filled as u64 }),
                        read => filled += read,
                    }
                }
                if found == *mark {
                    Ok(())
                } else {
                    Err(RdbError::Malformed { what: "the mark behind a dump", offset })
                }
            }
        }
    }
}
