//! Other names for what is restored.

use regex::{Captures, Regex};

use super::error::OpensearchError;

/// `logs-(.+)=restored-logs-$1`: what matches as a whole gets the name on the right, in which `$1` and `${1}` are what the first group
/// matched, `${name}` and `$name` a group of that name, and `$$` is a dollar.
#[derive(Debug, Clone)]
pub struct Rename {
    pattern: Regex,
    replacement: String,
}

impl Rename {
    /// # Errors
    /// `Rename` for what is not `PATTERN=NAME`, or no regular expression, or names a group that there is not.
    pub fn parse(text: &str) -> Result<Self, OpensearchError> {
        let wrong = |why: String| OpensearchError::Rename { why: format!("--rename {text}: {why}") };
        let (pattern, replacement) =
            text.rsplit_once('=').ok_or_else(|| wrong("write PATTERN=NAME".into()))?;
        let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| wrong(error.to_string()))?;
        if replacement.is_empty() {
            return Err(wrong("the name on the right is empty".into()));
        }
        let references = Regex::new(REFERENCES).map_err(|error| wrong(error.to_string()))?;
        let is_there = |group: &str| match group.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|name| name == group),
        };
        if let Some(missing) = references.captures_iter(replacement).find_map(|reference| {
            let group = group_of(&reference)?;
            (!is_there(group)).then(|| group.to_owned())
        }) {
            return Err(wrong(format!("the pattern has no group {missing}")));
        }
        // The crate would read `$1_old` as a group of that name.
        let replacement = references.replace_all(replacement, |reference: &Captures<'_>| {
            group_of(reference).map_or_else(|| "$$".to_owned(), |group| format!("${{{group}}}"))
        });
        Ok(Self { replacement: replacement.into_owned(), pattern })
    }

    /// The other name, if it fits.
    pub(super) fn of(&self, name: &str) -> Option<String> {
        self.pattern.is_match(name).then(|| self.pattern.replace(name, &self.replacement).into_owned())
    }
}

/// `$$`, `${group}`, `$1`, `$name`.
const REFERENCES: &str = r"\$(?:\$|\{([^}]*)\}|([0-9]+)|([A-Za-z_][0-9A-Za-z_]*))";

fn group_of<'r>(reference: &Captures<'r>) -> Option<&'r str> {
    (1..=3).find_map(|number| reference.get(number)).map(|group| group.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_replaced() {
        let rename = Rename::parse("logs-(.+)=restored-logs-$1").unwrap();
        assert_eq!(rename.of("logs-2026").unwrap(), "restored-logs-2026");
        assert_eq!(rename.of("my-logs-2026"), None);
        assert_eq!(Rename::parse("(.+)=${1}_old").unwrap().of("a").unwrap(), "a_old");
        assert_eq!(Rename::parse("(.+)-(.+)=$2_old$$$1").unwrap().of("a-b").unwrap(), "b_old$a");
        assert_eq!(Rename::parse("(?P<what>.+)=$what-${what}").unwrap().of("a").unwrap(), "a-a");
        for wrong in ["(.+)=$2", "(.+)=$old", "a=${}", "a="] {
            assert!(Rename::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Rename::parse("a").is_err());
        assert!(Rename::parse("(=b").is_err());
    }
}
