//! Sizes as people write them.

/// Reads bytes, or a number with K, M, G or T, of 1024 each.
///
/// # Errors
/// What is to be written instead.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let form = "write a number of bytes, or one with K, M, G or T";
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err(form.into()),
    };
    let number: u64 = digits.parse().map_err(|_| form)?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_people_write_them() {
        for (text, expected) in [
            ("5", Some(5)),
            ("2TiB", Some(2 << 40)),
            ("10g", Some(10 << 30)),
            ("x", None),
            ("0", None),
            ("99999999999T", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
    }
}
