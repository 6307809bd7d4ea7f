//! Which keys are meant.

use globset::{GlobBuilder, GlobMatcher};

/// Beginnings of keys, and patterns of whole ones.
#[derive(Debug, Clone, Default)]
pub struct KeySelection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

#[derive(Debug, Clone)]
enum Pattern {
    Prefix(String),
    Glob(GlobMatcher),
}

impl Pattern {
    fn new(text: &str) -> Result<Self, globset::Error> {
        if !text.contains(['*', '?', '[', '{']) {
            return Ok(Self::Prefix(text.to_owned()));
        }
        Ok(Self::Glob(GlobBuilder::new(text).literal_separator(false).build()?.compile_matcher()))
    }

    fn has(&self, key: &str) -> bool {
        match self {
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Glob(glob) => glob.is_match(key),
        }
    }
}

impl KeySelection {
    /// Those that one of `include` has, all if there is none, without those that one of `exclude` has. Text with `*`, `?`, `[`
    /// or `{` is a pattern of whole keys; any other is what keys begin with.
    ///
    /// # Errors
    /// For what is no pattern.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, globset::Error> {
        let patterns =
            |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>();
        Ok(Self { include: patterns(include)?, exclude: patterns(exclude)? })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|pattern| pattern.has(key)))
            && !self.exclude.iter().any(|pattern| pattern.has(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_patterns_select() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let selection = KeySelection::new(&texts(&["a/b", "*.txt"]), &texts(&["a/b/c"])).unwrap();
        for (key, is_in) in
            [("a/b", true), ("a/bc/d", true), ("x/y.txt", true), ("a/b/c.txt", false), ("x", false)]
        {
            assert_eq!(selection.has(key), is_in, "{key}");
        }
        assert!(KeySelection::default().has("anything"));
        assert!(KeySelection::new(&texts(&["["]), &[]).is_err());
    }
}
