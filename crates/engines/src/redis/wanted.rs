//! Which keys are wanted, by patterns as the server has them.

/// Keys; without patterns all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those that match one of these, if there are any.
    pub include: Vec<String>,
    /// Without those that match one of these.
    pub exclude: Vec<String>,
}

impl Wanted {
    /// Whether that is all of them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        let matches_one =
            |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern.as_bytes(), key));
        (self.include.is_empty() || matches_one(&self.include)) && !matches_one(&self.exclude)
    }
}

/// `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before what stands for itself. Without recursion: only the last `*` counts.
fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut left, mut rest) = (pattern, key);
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = left {
            again = Some((behind, rest));
            left = behind;
            continue;
        }
        match (one(left, rest.first().copied()), rest) {
            (Some(behind), [_, rest_behind @ ..]) => (left, rest) = (behind, rest_behind),
            (_, []) if left.is_empty() => return true,
            _ => match again {
                Some((behind, [_, from @ ..])) => {
                    again = Some((behind, from));
                    (left, rest) = (behind, from);
                }
                _ => return false,
            },
        }
    }
}

/// What of a pattern is left when its first part matches this byte.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?;
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'\\', literal, rest @ ..] => (*literal == byte).then_some(rest),
        [b'[', rest @ ..] => {
            let (is_not, mut rest) = match rest {
                [b'^', rest @ ..] => (true, rest),
                rest => (false, rest),
            };
            let mut is_in = false;
            loop {
                rest = match rest {
                    // One that does not end, ends here.
                    [] => break,
                    [b']', behind @ ..] => {
                        rest = behind;
                        break;
                    }
                    [b'\\', literal, behind @ ..] => {
                        is_in |= *literal == byte;
                        behind
                    }
                    [first, b'-', last, behind @ ..] => {
                        is_in |= (*first.min(last)..=*first.max(last)).contains(&byte);
                        behind
                    }
                    [literal, behind @ ..] => {
                        is_in |= *literal == byte;
                        behind
                    }
                };
            }
            (is_in != is_not).then_some(rest)
        }
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_the_server() {
        let yes = [
            ("*", ""),
            ("*", "a/b"),
            ("session:*", "session:1"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("\\*a", "*a"),
            ("*:a*b:*", "x:aab:aab:y"),
            ("a**", "a"),
            ("[\\]]", "]"),
            ("", ""),
            ("a*a", "aba"),
            ("[ab", "b"),
        ];
        for (pattern, key) in yes {
            assert!(matches(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        let no = [
            ("session:*", "sessio:1"),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("\\*a", "ba"),
            ("a", "ab"),
            ("ab", "a"),
            ("*a", "b"),
            ("a*b*c", "acb"),
        ];
        for (pattern, key) in no {
            assert!(!matches(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        // Nothing that takes for ever.
        assert!(!matches("*a".repeat(40).as_bytes(), "a".repeat(39).as_bytes()));
    }

    #[test]
    fn what_is_excluded_is_not_wanted() {
        let wanted = Wanted { include: vec!["a*".into()], exclude: vec!["*z".into()] };
        assert!(wanted.has(b"ab") && !wanted.has(b"az") && !wanted.has(b"b") && Wanted::default().has(b"x"));
    }
}
