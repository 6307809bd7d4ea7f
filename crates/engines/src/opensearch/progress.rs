//! What of a restore is done: what is left behind when it breaks off is told.

use super::error::{OpensearchError, listed};
use super::restore::IndexReport;
use crate::engine::EngineError;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) report: IndexReport,
    now: Now,
}

/// What becomes of the index, or data stream, that is restored now.
#[derive(Debug, Default, PartialEq)]
enum Now {
    #[default]
    Nothing,
    /// The one of that name is being dropped; perhaps it is.
    Dropping(String),
    /// It is not there any more.
    Dropped(String),
    /// So many documents of so many are in.
    Made { target: String, documents: u64, of: u64 },
}

impl Progress {
    pub(super) fn dropping(&mut self, target: &str) {
        self.now = Now::Dropping(target.to_owned());
    }

    /// The server said no, or nothing.
    pub(super) fn not_dropped(&mut self, error: &OpensearchError) {
        if error.status().is_some() {
            self.now = Now::Nothing;
        }
    }

    pub(super) fn dropped(&mut self, target: &str) {
        self.now = Now::Dropped(target.to_owned());
    }

    /// It is there, or its next part.
    pub(super) fn made(&mut self, target: &str, of: u64) {
        if !matches!(&self.now, Now::Made { .. }) {
            self.now = Now::Made { target: target.to_owned(), documents: 0, of };
        }
    }

    pub(super) fn loaded(&mut self, taken: u64) {
        if let Now::Made { documents, .. } = &mut self.now {
            *documents += taken;
        }
        self.report.documents += taken;
    }

    pub(super) fn whole(&mut self) {
        if let Now::Made { target, .. } = std::mem::take(&mut self.now) {
            self.report.indices.push(target);
        }
    }

    /// The error, with what was done until then, if anything was.
    pub(super) fn broken_off(self, source: EngineError) -> EngineError {
        let (whole, parts) = (&self.report.indices, self.report.parts);
        let mut left = match &self.now {
            Now::Nothing if whole.is_empty() && parts == 0 => return source,
            Now::Nothing => "not all is restored".to_owned(),
            Now::Dropping(target) => {
                format!("index {target} was to make room and is not restored: it may be deleted")
            }
            Now::Dropped(target) => format!("index {target} made room, is deleted, and is not restored"),
            Now::Made { target, documents, of } => {
                format!("index {target} is restored in part only ({documents} of {of} documents)")
            }
        };
        if !whole.is_empty() {
            left += &format!(
                "; whole, but perhaps without aliases, are: {}",
                listed(whole.iter().map(String::as_str))
            );
        }
        if parts > 0 {
            left += &format!("; templates, pipelines and scripts that are restored: {parts}");
        }
        OpensearchError::Partial { left, source: Box::new(source) }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(progress: Progress) -> String {
        let error = OpensearchError::Count { index: "x".into(), there: 1, should: 2 };
        progress.broken_off(error.into()).to_string()
    }

    #[test]
    fn what_is_left_behind_is_told() {
        assert_eq!(told(Progress::default()), "the server counts 1 documents in index x, which has 2");
        let mut progress = Progress::default();
        progress.dropping("a");
        progress.dropped("a");
        progress.made("a", 5);
        progress.loaded(5);
        progress.whole();
        progress.report.parts = 3;
        let mut again = Progress { report: progress.report.clone(), now: Now::Nothing };
        let whole = "; whole, but perhaps without aliases, are: a; templates, pipelines and scripts that are restored: 3";
        assert_eq!(told(progress), format!("not all is restored{whole}"));
        again.dropping("b");
        again.dropped("b");
        assert_eq!(told(again), format!("index b made room, is deleted, and is not restored{whole}"));
        let mut part = Progress::default();
        part.made("c", 9);
        part.loaded(4);
        part.made("c", 9);
        part.loaded(1);
        assert_eq!(told(part), "index c is restored in part only (5 of 9 documents)");
    }
}
