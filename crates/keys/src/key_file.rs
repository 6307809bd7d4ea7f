//! Key files: 32 random bytes in a line of text, and the text form of X25519 public keys
//! (`format-spec/sealing.md#key-files`).

use strongroom_format::PublicKey;
use zeroize::Zeroizing;

use crate::wrap::x25519_public;
use crate::{KeysError, Secret};

const SYMMETRIC: &str = "strongroom-key-1:";
const X25519: &str = "strongroom-x25519-1:";
const PUBLIC: &str = "x25519:";

/// What a key file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// A key that wraps and unwraps.
    Symmetric(Secret),
    /// The private half of an X25519 key: with the public half anybody wraps, only this unwraps.
    X25519(Secret),
}

/// The text of a key file for the repository with this fingerprint.
#[must_use]
pub fn encode(key: &Secret, fingerprint: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "# Strongroom key file. Whoever has it can read the repository; without it nobody can: keep a copy elsewhere.\n\
         # repository {fingerprint}\n{}",
        *line(SYMMETRIC, key)
    ))
}

/// The text of a key file with an X25519 private key, which fits any number of repositories.
///
/// # Errors
/// As [`x25519_public`].
pub fn encode_x25519(private: &Secret) -> Result<Zeroizing<String>, KeysError> {
    let public = public_text(&x25519_public(private)?);
    Ok(Zeroizing::new(format!(
        "# Strongroom private key. Whoever has it opens what is wrapped for its public half, which is\n\
         # {public}\n{}",
        *line(X25519, private)
    )))
}

fn line(prefix: &str, key: &Secret) -> Zeroizing<String> {
    let digits = Zeroizing::new(hex::encode(key.expose()));
    Zeroizing::new(format!("{prefix}{}:{}\n", *digits, checksum(key.expose())))
}

/// A public key as people pass it on: `x25519:`, its digits, and a checksum that catches typing errors.
#[must_use]
pub fn public_text(public: &PublicKey) -> String {
    format!("{PUBLIC}{}:{}", hex::encode(public.0), checksum(&public.0))
}

/// Reads what [`public_text`] writes.
///
/// # Errors
/// `KeyFile`.
pub fn parse_public(text: &str) -> Result<PublicKey, KeysError> {
    let rest =
        text.strip_prefix(PUBLIC).ok_or(KeysError::KeyFile { reason: "it does not begin with x25519:" })?;
    Ok(PublicKey(*read_line(rest)?.expose()))
}

/// Reads the text of a key file.
///
/// # Errors
/// `KeyFile`.
pub fn decode(text: &str) -> Result<KeyFile, KeysError> {
    let fail = |reason| Err(KeysError::KeyFile { reason });
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else { return fail("it has no key") };
    if lines.next().is_some() {
        return fail("it has more than one line that is not a comment");
    }
    if let Some(rest) = line.strip_prefix(SYMMETRIC) {
        return read_line(rest).map(KeyFile::Symmetric);
    }
    if let Some(rest) = line.strip_prefix(X25519) {
        return read_line(rest).map(KeyFile::X25519);
    }
    fail("its line begins with neither strongroom-key-1: nor strongroom-x25519-1:")
}

/// `<64 hexadecimal digits>:<checksum>`
fn read_line(text: &str) -> Result<Secret, KeysError> {
    let fail = |reason| Err(KeysError::KeyFile { reason });
    let Some((digits, sum)) = text.split_once(':') else { return fail("it has no checksum") };
    let mut bytes = [0; 32];
    if hex::decode_to_slice(digits, &mut bytes).is_err() {
        return fail("its key is not 64 hexadecimal digits");
    }
    let key = Secret::new(bytes);
    if checksum(key.expose()) == sum {
        Ok(key)
    } else {
        fail("its checksum does not match: a mistyped or damaged copy")
    }
}

fn checksum(key: &[u8; 32]) -> String {
    hex::encode(&blake3::hash(key).as_bytes()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_typos() {
        let key = Secret::new([0x5a; 32]);
        let text = encode(&key, "abcd");
        assert_eq!(decode(&text).unwrap(), KeyFile::Symmetric(key.clone()));
        let private = encode_x25519(&key).unwrap();
        assert_eq!(decode(&private).unwrap(), KeyFile::X25519(key.clone()));
        for (from, to) in [("5a5a", "5b5a"), ("key-1", "key-2"), ("strongroom-key-1:", "# "), ("5a5a", "zz")]
        {
            assert!(decode(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
        assert!(decode("").is_err());
        // The public half, which is in a comment of the file, is no key file.
        let public = x25519_public(&key).unwrap();
        let text = public_text(&public);
        assert!(private.contains(&text));
        assert_eq!(parse_public(&text).unwrap(), public);
        assert!(decode(&text).is_err());
        assert!(parse_public(&text.replace("x25519:", "")).is_err());
        let swapped = if text.as_bytes()[7] == b'0' { "1" } else { "0" };
        assert!(parse_public(&format!("x25519:{swapped}{}", &text[8..])).is_err(), "{text}");
    }
}
