//! How sizes, times and results look.

use jiff::Timestamp;
use maud::{Markup, html};
use strongroom_ops::run::RunResult;
use strongroom_ops::status::{Finding, Severity, SourceStatus};
pub(super) use strongroom_ops::words::{bytes, span, took};

/// A moment, for people and for programs.
pub(super) fn time(time: Timestamp) -> Markup {
    html! { time datetime=(time) { (time.strftime("%Y-%m-%d %H:%M")) " UTC" } }
}

/// How long ago, or in how long.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        0.. => format!("{} ago", span(seconds)),
        _ => format!("in {}", span(-seconds)),
    }
}

/// A word in a colour; the word alone says it, too.
pub(super) fn badge(class: &str, word: &str) -> Markup {
    html! { span.badge.(class) { (word) } }
}

pub(super) fn result(result: RunResult) -> Markup {
    let class = match result {
        RunResult::Done => "good",
        RunResult::Partly => "warning",
        RunResult::Failed => "critical",
        RunResult::Skipped | RunResult::Interrupted => "plain",
    };
    badge(class, result.name())
}

pub(super) fn severity(severity: Severity) -> Markup {
    badge(severity.name(), severity.name())
}

/// What stands between backticks is what somebody types.
pub(super) fn with_code(text: &str) -> Markup {
    html! { @for (at, part) in text.split('`').enumerate() { @if at % 2 == 1 { code { (part) } } @else { (part) } } }
}

/// How a source stands, in words.
pub(super) fn state(source: &SourceStatus) -> Markup {
    let worst = source.findings.iter().max_by_key(|finding| finding.severity);
    match worst {
        Some(finding) => badge(finding.severity.name(), word(finding)),
        None if source.backups.is_empty() => badge("plain", "no backup yet"),
        None if source.engine.is_none() => badge("plain", "not configured here"),
        None => badge("good", "up to date"),
    }
}

fn word(finding: &Finding) -> &'static str {
    use strongroom_ops::status::Kind;
    match finding.kind {
        Kind::BackupFailed => "backup failed",
        Kind::BackupMissed => "backup missed",
        Kind::BackupPartly => "partly backed up",
        Kind::BackupSlow => "slow",
        Kind::BackupOverrun => "runs too long",
        Kind::SizeAnomaly => "unusual size",
        Kind::RestoreTestFailed => "restore test failed",
        Kind::RestoreTestMissed => "restore test missed",
        Kind::RestoreSlow => "restore is slow",
        Kind::WalLate => "log is late",
        Kind::WalGap => "log has gaps",
        Kind::CheckFailed => "check failed",
        Kind::MaintenanceFailed => "maintenance failed",
        Kind::TaskMissed => "maintenance missed",
        Kind::SyncFailed => "copy failed",
        Kind::SyncMissed => "copy missed",
        Kind::DrillMissed => "drill missed",
        Kind::DrillFailed => "drill failed",
        Kind::StorageNearCapacity => "nearly full",
        Kind::NoAccess => "no access",
    }
}

/// A name as a part of a path.
pub(super) fn path_part(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_it() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(ago("2026-11-22T10:00:00Z".parse().unwrap(), now), "2 h ago");
        assert_eq!(ago("2026-11-22T12:30:00Z".parse().unwrap(), now), "in 30 min");
        assert_eq!(path_part("a/../b <é>"), "a%2F%2E%2E%2Fb%20%3C%C3%A9%3E");
    }
}
