//! What notes tell: what reads data leaves one when it begins (`restore-began`) and one when it ends (`restore`, `restore-failed`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strongroom_format::entry::NoteBody;

use super::Trail;
use super::record::{Kind, Record, Verdict};
use crate::notify::SENT;
use crate::redacted;
use crate::run::{BEGAN, ENDED};

/// The event of a note that says who ran a command that changes the repository.
pub const COMMAND: &str = "command";
/// The event of a drill's note.
pub const DRILL: &str = "drill";

/// Who ran what: the entry that it makes is signed, and knows no user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// `forget`, `key`.
    pub command: String,
    /// What of it: `add-recipient`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// A drill that people held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// As the configuration calls it: `monthly`, `quarterly`.
    pub drill: String,
    /// How it went.
    pub result: DrillResult,
    /// When it was held, where that was before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Timestamp>,
    /// How long it took until all was back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Of which sources; none: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How a drill went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillResult {
    /// All came back, in time.
    Passed,
    /// Not all, or not in time.
    Failed,
}

impl Trail {
    pub(super) fn note(&self, record: &mut Record, body: &NoteBody) {
        let mut detail =
            serde_json::from_str(&body.detail).unwrap_or_else(|_| Value::String(body.detail.clone()));
        redact(&mut detail);
        let text = |name: &str| detail[name].as_str().map(str::to_owned);
        record.host = text("host");
        record.user = text("user");
        record.sudo_user = text("sudo_user");
        record.operation = text("operation").or_else(|| text("run"));
        record.error = text("error");
        if let Some(snapshot) = body.snapshot {
            self.snapshots(record, &[snapshot]);
        }
        add_sources(record, &detail);
        let (base, ended) = split(&body.event);
        record.what = base.to_owned();
        record.result = ended.unwrap_or_else(|| said(base, &detail));
        record.kind = match base {
            "wal_dropped" => Kind::Log,
            SENT => Kind::Alert,
            COMMAND => Kind::of_command(detail["command"].as_str().unwrap_or_default()),
            base if base.starts_with("repair") => Kind::Repair,
            base if base.starts_with("copy") => Kind::Copy,
            base => Kind::of_command(base),
        };
        match base {
            COMMAND => {
                let words = [text("command"), text("action")];
                record.what = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
            }
            "run" => record.what = format!("run {}", text("work").unwrap_or_default()),
            DRILL => record.object = text("drill").unwrap_or_default(),
            SENT => record.object = "what was found was told".to_owned(),
            _ => {}
        }
        add_place(record, &detail);
        record.detail = detail;
    }
}

/// Takes out of what a note says of an error what the error may have quoted: where it is noted, and where it is told.
pub fn redact(detail: &mut Value) {
    if let Some(Value::String(error)) = detail.get_mut("error") {
        *error = redacted(error);
    }
}

/// What an event is of, and how that ended where the event itself says so.
fn split(event: &str) -> (&str, Option<Verdict>) {
    match event {
        BEGAN => ("run", Some(Verdict::Began)),
        ENDED => ("run", None),
        // Written when it begins; what it did, its own entries say.
        "prune" => ("prune", Some(Verdict::Began)),
        event => match (event.strip_suffix("-began"), event.strip_suffix("-failed")) {
            (Some(base), _) => (base, Some(Verdict::Began)),
            (_, Some(base)) => (base, Some(Verdict::Failed)),
            _ => (event, None),
        },
    }
}

/// How it ended, by what the note says.
fn said(base: &str, detail: &Value) -> Verdict {
    let has_troubles = detail["troubles"].as_u64().is_some_and(|troubles| troubles > 0);
    match (base, detail["result"].as_str(), detail["clean"].as_bool()) {
        ("check" | "check-shard", _, Some(false)) | ("verify" | "verify-shard", Some("differs"), _) => {
            Verdict::Damage
        }
        (_, Some("failed"), _) => Verdict::Failed,
        (_, Some("partly"), _) => Verdict::Partly,
        (_, Some("skipped"), _) => Verdict::Skipped,
        _ if has_troubles => Verdict::Partly,
        _ => Verdict::Done,
    }
}

fn add_sources(record: &mut Record, detail: &Value) {
    let one = detail["source"].as_str().into_iter();
    let several = detail["sources"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for source in one.chain(several) {
        if !record.sources.iter().any(|known| known == source) {
            record.sources.push(source.to_owned());
        }
    }
    if record.object.is_empty() {
        record.object = record.sources.join(", ");
    }
}

/// What was read, and where it went.
fn add_place(record: &mut Record, detail: &Value) {
    for (name, word) in [("path", "/"), ("target", "into "), ("to", "into "), ("archive", "into ")] {
        if let Some(place) = detail[name].as_str() {
            let is_rooted = word == "/" && place.starts_with('/');
            let word = if is_rooted { "" } else { word };
            record.object = format!("{} {word}{place}", record.object).trim_start().to_owned();
        }
    }
}
