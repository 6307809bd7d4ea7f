//! Key files: 32 random bytes in a line of text (`format-spec/sealing.md#key-files`).

use zeroize::Zeroizing;

use crate::{KeysError, Secret};

const PREFIX: &str = "strongroom-key-1:";

/// The text of a key file for the repository with this fingerprint.
#[must_use]
pub fn encode(key: &Secret, fingerprint: &str) -> Zeroizing<String> {
    let digits = Zeroizing::new(hex::encode(key.expose()));
    Zeroizing::new(format!(
        "# Strongroom key file. Whoever has it can read the repository; without it nobody can: keep a copy elsewhere.\n\
         # repository {fingerprint}\n\
         {PREFIX}{}:{}\n",
        *digits,
        checksum(key)
    ))
}

/// Reads the text of a key file.
///
/// # Errors
/// `KeyFile`.
pub fn decode(text: &str) -> Result<Secret, KeysError> {
    let fail = |reason| Err(KeysError::KeyFile { reason });
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else { return fail("it has no key") };
    if lines.next().is_some() {
        return fail("it has more than one line that is not a comment");
    }
    let Some((digits, sum)) = line.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')) else {
        return fail("its line does not begin with strongroom-key-1:");
    };
    let mut bytes = [0; 32];
    if hex::decode_to_slice(digits, &mut bytes).is_err() {
        return fail("its key is not 64 hexadecimal digits");
    }
    let key = Secret::new(bytes);
    if checksum(&key) == sum {
        Ok(key)
    } else {
        fail("its checksum does not match: a mistyped or damaged copy")
    }
}

fn checksum(key: &Secret) -> String {
    hex::encode(&blake3::hash(key.expose()).as_bytes()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_typos() {
        let key = Secret::new([0x5a; 32]);
        let text = encode(&key, "abcd");
        assert_eq!(decode(&text).unwrap(), key);
        for (from, to) in [("5a5a", "5b5a"), ("key-1", "key-2"), ("strongroom-key-1:", "# "), ("5a5a", "zz")]
        {
            assert!(decode(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
        assert!(decode("").is_err());
    }
}
