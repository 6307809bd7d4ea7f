//! Percent-encoding of URLs, RFC 3986, section 2.1.

/// What a URL may have as it is (section 2.3); everything else as `%` and two digits.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What it stands for; none where `%` is not followed by two hexadecimal digits, or it is not UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        rest = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                bytes.push(digit(high)? << 4 | digit(low)?);
                behind
            }
            (b'%', _) => return None,
            (byte, behind) => {
                bytes.push(*byte);
                behind
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// Why a URL is not understood.
pub(crate) const WHY: &str = "% is followed by two hexadecimal digits, and text is UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        for text in ["", "plain-1_.~", "p@ss/w%rd ä\n", "%41"] {
            assert_eq!(decoded(&encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(decoded("p%40ss%2fw").as_deref(), Some("p@ss/w"));
        for wrong in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }
}
