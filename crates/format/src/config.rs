//! `config`: the one plain object, written once (`format-spec/objects.md#config`).

use crate::cbor::{Decoder, Encoder};
use crate::header::SUITE;
use crate::{FormatError, PublicKey, RepositoryId};

/// The format version this crate writes.
pub const FORMAT_VERSION: u64 = 1;
/// Longest `config` a reader accepts, bytes.
pub const CONFIG_LIMIT_BYTES: u64 = 4096;

/// What one must know before anything can be opened. Its BLAKE3-256 is the repository's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The repository.
    pub repository: RepositoryId,
    /// The Ed25519 key that signs the first policy.
    pub root: PublicKey,
}

impl Config {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.uint(1, FORMAT_VERSION);
            map.bytes(2, &self.repository.0);
            map.uint(3, SUITE.into());
            map.bytes(4, &self.root.0);
        });
        encoder.into_bytes()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Unknown` for a newer format or suite; `Cbor`, `Missing`, `UnknownField` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut version, mut repository, mut suite, mut root) = (None, None, None, None);
        let mut decoder = Decoder::new(bytes);
        let result = decoder.map("config", |key, value| {
            match key {
                1 => {
                    let found = value.uint()?;
                    if found != FORMAT_VERSION {
                        return Err(FormatError::Unknown { what: "format version", value: found });
                    }
                    version = Some(found);
                }
                2 => repository = Some(RepositoryId::try_from(value.bytes()?)?),
                3 => suite = Some(value.uint()?),
                4 => root = Some(PublicKey::try_from(value.bytes()?)?),
                _ => return Ok(false),
            }
            Ok(true)
        });
        result.and_then(|()| decoder.end("config"))?;
        version.ok_or(FormatError::Missing { what: "format version" })?;
        match suite {
            Some(value) if value == u64::from(SUITE) => {}
            Some(value) => return Err(FormatError::Unknown { what: "cipher suite", value }),
            None => return Err(FormatError::Missing { what: "cipher suite" }),
        }
        Ok(Self {
            repository: repository.ok_or(FormatError::Missing { what: "repository ID" })?,
            root: root.ok_or(FormatError::Missing { what: "root public key" })?,
        })
    }
}
