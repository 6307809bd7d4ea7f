//! The one shape of zstd frame the format allows (RFC 8878 section 3.1.1): single segment, content size present
//! and right, no dictionary ID, no checksum, never skippable.

use crate::FormatError;

const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// Checks the head of `payload` before a decoder sees it. That the input is consumed to its end is the
/// decoder's to check.
///
/// # Errors
/// `Magic`, `Rule`, `Truncated`, `Limit`.
pub fn check(payload: &[u8], plain_length: u32) -> Result<(), FormatError> {
    let what = "zstd frame";
    let rest = payload.strip_prefix(&MAGIC).ok_or(FormatError::Magic { what })?;
    let (descriptor, rest) = rest.split_first().ok_or(FormatError::Truncated { what })?;
    let rule = |rule| Err(FormatError::Rule { what, rule });
    if descriptor & 0x20 == 0 {
        return rule("it is a single segment");
    }
    if descriptor & 0x03 != 0 {
        return rule("it names no dictionary");
    }
    if descriptor & 0x04 != 0 {
        return rule("it has no checksum");
    }
    if descriptor & 0x18 != 0 {
        return rule("unused bits are zeros");
    }
    let (length, offset) = match descriptor >> 6 {
        0 => (1, 0),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let field = rest.get(..length).ok_or(FormatError::Truncated { what })?;
    let size = field.iter().rev().fold(0_u64, |sum, b| sum << 8 | u64::from(*b)).saturating_add(offset);
    if size == u64::from(plain_length) {
        Ok(())
    } else {
        Err(FormatError::Limit { what: "zstd content size", value: size, limit: plain_length.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let frame = |descriptor: u8, size: &[u8]| [&MAGIC[..], &[descriptor], size].concat();
        assert_eq!(check(&frame(0x20, &[5]), 5), Ok(()));
        assert_eq!(check(&frame(0x60, &[0, 0]), 256), Ok(()));
        assert_eq!(check(&frame(0xa0, &[0, 0, 16, 0]), 1 << 20), Ok(()));
        assert!(matches!(check(&frame(0x20, &[6]), 5), Err(FormatError::Limit { .. })));
        for (descriptor, rule) in [
            (0x00, "it is a single segment"),
            (0x21, "it names no dictionary"),
            (0x24, "it has no checksum"),
            (0x28, "unused bits are zeros"),
        ] {
            assert_eq!(
                check(&frame(descriptor, &[5]), 5),
                Err(FormatError::Rule { what: "zstd frame", rule })
            );
        }
        assert_eq!(
            check(&[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0], 5),
            Err(FormatError::Magic { what: "zstd frame" })
        );
        assert_eq!(check(&frame(0xa0, &[0]), 5), Err(FormatError::Truncated { what: "zstd frame" }));
    }
}
