//! The history of a timeline, as PostgreSQL writes it: from which others it branches, and where.

use super::gaps::Branch;

/// The branch that a history ends with: that of its own timeline. `None` for what is no history.
///
/// Lines are `<timeline> <high>/<low> <reason>`; those that are empty or begin with `#` are comments.
pub(super) fn last_branch(history: &[u8]) -> Option<Branch> {
    let text = std::str::from_utf8(history).ok()?;
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with('#'))?;
    let mut words = line.split_ascii_whitespace();
    let parent = words.next()?.parse().ok().filter(|parent: &u32| *parent > 0)?;
    let (high, low) = words.next()?.split_once('/')?;
    let half = |digits| u32::from_str_radix(digits, 16).ok();
    Some(Branch { parent, position: u64::from(half(high)?) << 32 | u64::from(half(low)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories() {
        let branch = |parent, position| Some(Branch { parent, position });
        assert_eq!(last_branch(b"1\t0/3000000\tno recovery target specified\n"), branch(1, 0x0300_0000));
        assert_eq!(last_branch(b"1\t0/30\tx\n\n2\tA/FF000028\ty\n# end\n\n"), branch(2, 0x0a_ff00_0028));
        for none in
            [&b""[..], b"# nothing\n", b"1\n", b"1 0\n", b"0 0/1 x", b"x 0/1", b"1 0/1FFFFFFFF", b"\xff"]
        {
            assert_eq!(last_branch(none), None);
        }
    }
}
