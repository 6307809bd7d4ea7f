//! What to do next when Redis refused.

use strongroom_engines::EngineError;
use strongroom_engines::redis::RedisError;

/// By what servers say.
const HINTS: [(&str, &str); 11] = [
    ("NOAUTH", "give the password: in the URL, or in REDISCLI_AUTH"),
    (
        "WRONGPASS",
        "give the right user and password: in the URL (redis://USER:PASSWORD@HOST), or the password in REDISCLI_AUTH",
    ),
    ("invalid password", "give the right password: in the URL, or in REDISCLI_AUTH"),
    (
        "NOPERM",
        "give the user the rights: `ACL SETUSER NAME on >PASSWORD ~* +ping +info +psync +replconf +cluster|nodes +config|get` for a backup; `+@all` for a restore",
    ),
    (
        "unknown command",
        "it was renamed or is not allowed there: a backup needs PSYNC, REPLCONF and INFO, which managed services often keep to themselves",
    ),
    (
        "DUMP payload version or checksum",
        "the server is older than the one that was backed up: restore into one of its version or newer",
    ),
    ("BUSYKEY", "somebody wrote that key meanwhile; --drop-existing replaces what is there"),
    (
        "already exists",
        "a library of functions of that name is there; --drop-existing replaces it, --database restores keys alone",
    ),
    ("OOM", "the server has reached its maxmemory: raise it, and restore again with --drop-existing"),
    ("READONLY", "it is a replica: restore into its master"),
    (
        "DB index is out of range",
        "the server has fewer databases (`databases` in its configuration); --into restores into another",
    ),
];

pub(crate) fn hint(error: &RedisError) -> Option<&'static str> {
    match error {
        RedisError::Refused { said, .. } => {
            HINTS.iter().find(|(part, _)| said.contains(part)).map(|(_, hint)| *hint)
        }
        RedisError::Connect { .. } => Some("is the server up, and are host and port right?"),
        RedisError::Tls { .. } => Some(
            "--ca-file (or ?ca_file=FILE in the URL) names the CA certificate to trust; redis:// goes without TLS",
        ),
        RedisError::NotReady { .. } | RedisError::Broken { .. } => {
            Some("run it again when the server is well")
        }
        RedisError::NotEmpty { .. } | RedisError::InTheWay { .. } => {
            Some("--drop-existing drops what is there first; --into restores into another database")
        }
        RedisError::TooOld { .. } => {
            Some("restore into a server of the version that was backed up, or a newer one")
        }
        RedisError::Evicted { .. } => Some(
            "raise its maxmemory, or set maxmemory-policy to noeviction, and restore again with --drop-existing",
        ),
        RedisError::Partial { source, .. } => match source.as_ref() {
            EngineError::Redis(inner) => hint(inner),
            _ => None,
        }
        .or(Some("run it again with --drop-existing")),
        RedisError::Temporary { .. } => {
            Some("free some space, or choose another folder with --scratch-dir or TMPDIR")
        }
        RedisError::Scratch { .. } => {
            Some("name the folder of the server's programs with --redis-bin (STRONGROOM_REDIS_BIN)")
        }
        RedisError::Exists { .. } => Some("choose another folder, or move what is there"),
        _ => None,
    }
}
