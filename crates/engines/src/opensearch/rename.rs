//! Other names for what is restored.

use regex::Regex;

use super::error::OpensearchError;

/// `logs-(.+)=restored-logs-$1`: what matches as a whole gets the name on the right.
#[derive(Debug, Clone)]
pub struct Rename {
    pattern: Regex,
    replacement: String,
}

impl Rename {
    /// # Errors
    /// `Rename` for what is not `PATTERN=NAME`, or no regular expression.
    pub fn parse(text: &str) -> Result<Self, OpensearchError> {
        let wrong = |why: String| OpensearchError::Rename { why: format!("--rename {text}: {why}") };
        let (pattern, replacement) =
            text.rsplit_once('=').ok_or_else(|| wrong("write PATTERN=NAME".into()))?;
        let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { pattern, replacement: replacement.to_owned() })
    }

    /// The other name, if it fits.
    pub(super) fn of(&self, name: &str) -> Option<String> {
        self.pattern.is_match(name).then(|| self.pattern.replace(name, &self.replacement).into_owned())
    }
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
        assert!(Rename::parse("a").is_err());
        assert!(Rename::parse("(=b").is_err());
    }
}
