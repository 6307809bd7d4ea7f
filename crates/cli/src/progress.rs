//! Progress on a terminal or for machines, notes and warnings on standard error.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use strongroom_repository::monitor::Monitor;

use crate::arguments::{Global, Progress};
use crate::signals;
use crate::status_lines::StatusLines;

/// Shows how a run goes.
pub(crate) struct Terminal {
    bar: Mutex<ProgressBar>,
    shown: bool,
    quiet: bool,
    json: bool,
    /// Where machines asked for it.
    status: Option<StatusLines>,
}

impl Terminal {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let shown = match global.progress {
            Progress::Always => !global.json,
            Progress::Never => false,
            Progress::Auto => terminal && !global.quiet && !global.json,
        };
        let status = (global.json && global.progress == Progress::Always).then(StatusLines::new);
        Self { bar: Mutex::new(ProgressBar::hidden()), shown, quiet: global.quiet, json: global.json, status }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().map_or_else(|_| ProgressBar::hidden(), |bar| bar.clone())
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        if let Some(status) = &self.status {
            status.finish();
        }
        self.bar().finish_and_clear();
    }

    fn tell_machines(&self, kind: &str, message: &str) {
        if self.json {
            self.bar().suspend(|| {
                crate::output::line!("{}", serde_json::json!({ "type": kind, "message": message }))
            });
        }
    }

    /// Says something for people that is no warning.
    pub(crate) fn say(&self, message: &str) {
        if !self.quiet {
            self.bar().suspend(|| eprintln!("{message}"));
        }
    }
}

impl Monitor for Terminal {
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        if let Some(status) = &self.status {
            status.begin(what, total_bytes);
        }
        if !self.shown {
            return;
        }
        let (length, template) = match total_bytes {
            Some(total) => (Some(total), "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
            None => (None, "{spinner} {msg} {bytes} {bytes_per_sec} {elapsed}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr())
            .with_style(style)
            .with_message(what.to_owned());
        if let Ok(mut current) = self.bar.lock() {
            current.finish_and_clear();
            *current = bar;
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(status) = &self.status {
            status.advance(bytes);
        }
        if self.shown {
            self.bar().inc(bytes);
        }
    }

    fn stored(&self, bytes: u64) {
        if let Some(status) = &self.status {
            status.stored(bytes);
        }
    }

    fn note(&self, message: &str) {
        self.tell_machines("note", message);
        self.say(&format!("note: {message}"));
    }

    fn warn(&self, message: &str) {
        self.tell_machines("warning", message);
        self.bar().suspend(|| eprintln!("warning: {message}"));
    }

    fn is_cancelled(&self) -> bool {
        signals::is_interrupted()
    }
}
