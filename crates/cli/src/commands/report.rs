//! `report`: what was agreed, and what was reached in a period.

use std::path::Path;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use strongroom_ops::audit::Trail;
use strongroom_ops::config::Config;
use strongroom_ops::report::{self, AuditSummary, Document, Facts, Period, Stored};
use strongroom_ops::status::Status;
use strongroom_repository::Repository;
use strongroom_repository::cache::remembered_head;
use strongroom_repository::check::{Expected, Severity};
use strongroom_repository::monitor::Monitor as _;

use crate::arguments::{Report, ReportFormat};
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::output::text;
use crate::{clock, configured};

/// What a report is about where nobody says it.
const DAYS: i64 = 30;

pub(crate) fn run(context: &Context<'_>, arguments: &Report) -> anyhow::Result<Outcome> {
    let config = configured::config_if_any(context)?;
    let now = clock::now();
    let zone = config.zone.rules();
    let period = period(arguments, now, &zone)?;
    // A file that is not to be had is told before the journal is read.
    let file = arguments.output.as_deref().map(begin).transpose()?;
    let repository = context.open_afresh()?;
    let text = written(context, &repository, &config, period, (now, zone), arguments.format)?;
    match (file, &arguments.output) {
        (Some(file), Some(path)) => {
            finish(file, path, &text)?;
            context.terminal.say(&format!("wrote {}", path.display()));
        }
        _ => text!("{text}"),
    }
    Ok(Outcome::Done)
}

fn period(arguments: &Report, now: Timestamp, zone: &TimeZone) -> anyhow::Result<Period> {
    let period = match (&arguments.month, &arguments.quarter) {
        (Some(month), _) => Period::month(month, zone).map_err(Usage)?,
        (None, Some(quarter)) => Period::quarter(quarter, zone).map_err(Usage)?,
        (None, None) => {
            let until = arguments.until.unwrap_or(now);
            let from = arguments
                .since
                .map_or_else(|| until.checked_sub(SignedDuration::from_hours(24 * DAYS)), Ok)?;
            Period::between(from, until, zone)
        }
    };
    if period.from >= period.until || period.from > now {
        return Err(Usage(format!(
            "nothing can be said of {}: it has not begun, or ends before it begins",
            period.label
        ))
        .into());
    }
    Ok(period)
}

fn written(
    context: &Context<'_>,
    repository: &Repository,
    config: &Config,
    period: Period,
    (now, zone): (Timestamp, TimeZone),
    format: ReportFormat,
) -> anyhow::Result<String> {
    let status = Status::of(repository, config, now)?;
    let facts = Facts {
        status: &status,
        config,
        stored: &Stored::all(repository),
        audit: audit(context, repository, &period)?,
        repository: context.url()?.bucket(),
        fingerprint: repository.fingerprint(),
    };
    let report = report::Report::new(facts, period);
    Ok(match format {
        ReportFormat::Json => format!("{}\n", serde_json::to_string(&report)?),
        ReportFormat::Html => report::html(&Document::new(&report, &zone)),
        ReportFormat::Markdown => report::markdown(&Document::new(&report, &zone)),
    })
}

/// What the journal tells, once it has been verified.
fn audit(context: &Context<'_>, repository: &Repository, period: &Period) -> anyhow::Result<AuditSummary> {
    let folder = context.cache_folder();
    let remembered = folder.and_then(|folder| remembered_head(&folder, &repository.fingerprint()));
    context.terminal.begin("verifying", None);
    let verified = repository.verify_journal(&Expected { head: None, remembered }, &context.terminal)?;
    let worse = verified.findings.iter().filter(|finding| finding.severity != Severity::Info).count();
    let mut summary = AuditSummary::default();
    summary.verify_findings = worse as u64;
    let mut trail = Trail::default();
    repository.export_journal(0, &context.terminal, &mut |entry| {
        summary.take(&trail.record(entry), period);
    })?;
    context.terminal.finish();
    Ok(summary)
}

/// A file in the same folder: the report is there whole, or as it was.
fn begin(path: &Path) -> anyhow::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write {}", path.display()))
}

fn finish(mut file: tempfile::NamedTempFile, path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let cannot = || format!("cannot write {}", path.display());
    file.write_all(text.as_bytes()).with_context(cannot)?;
    // It names users and hosts: whoever may read the folder's other reports is told by the administrator, not by this.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o640)).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}
