//! The first page: whether all is well, and what is not.

use maud::{Markup, html};
use strongroom_ops::history::Attempt;
use strongroom_ops::run::{Job, RunResult};
use strongroom_ops::status::{Finding, LogStatus, Severity, SourceStatus};

use super::chart::Chart;
use super::growth::{Day, days};
use super::shown::{ago, badge, bytes, path_part, result, severity, span, state, time, took, with_code};
use super::{Shown, framed, unknown};
use crate::view::View;

/// How many of what is done next are told.
const NEXT: usize = 8;

/// Its page.
pub(crate) fn overview(shown: Shown<'_>) -> Markup {
    let Some(view) = shown.view else { return unknown(shown) };
    let status = &view.status;
    let content = html! {
        h1.hidden { "Overview" }
        (overall(shown, view))
        (tiles(shown, view))
        @if !status.findings.is_empty() { (findings(shown, &status.findings)) }
        (sources(shown, &status.sources))
        section { h2 { "Growth and savings" } (growth(status.sources.iter().flat_map(|source| &source.backups), shown)) }
        (tests(shown, &status.sources))
        @if !status.logs.is_empty() { (logs(shown, view)) }
        (maintenance(shown, view))
    };
    framed(shown, "Overview", true, &content)
}

fn overall(shown: Shown<'_>, view: &View) -> Markup {
    let of = |wanted| view.status.findings.iter().filter(|finding| finding.severity == wanted).count();
    let (critical, warnings) = (of(Severity::Critical), of(Severity::Warning));
    let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let watched = view.status.sources.iter().filter(|source| source.is_watched()).count();
    let (class, words, more) = if shown.reading.error.is_some() {
        (
            "critical",
            "Unknown".to_owned(),
            "the repository cannot be read; below is what was known".to_owned(),
        )
    } else if critical > 0 {
        let more =
            if warnings > 0 { format!(", and {}", plural(warnings, "warning")) } else { String::new() };
        ("critical", "Action needed".to_owned(), format!("{}{more}", plural(critical, "critical finding")))
    } else if warnings > 0 {
        ("warning", "Worth a look".to_owned(), plural(warnings, "warning"))
    } else if watched == 0 {
        (
            "plain",
            "Nothing is backed up yet".to_owned(),
            "the configuration names no source, and the repository has no snapshot".into(),
        )
    } else {
        ("good", "All is well".to_owned(), format!("{} as expected", plural(watched, "source")))
    };
    html! {
        section.overall.(class) aria-label="Overall state" {
            p.words { (words) }
            p { (more) }
        }
    }
}

fn tiles(shown: Shown<'_>, view: &View) -> Markup {
    let status = &view.status;
    let current = |source: &&SourceStatus| {
        source.is_watched() && source.findings.is_empty() && source.last_success().is_some()
    };
    let watched = status.sources.iter().filter(|source| source.is_watched()).count();
    let fine = status.sources.iter().filter(current).count();
    let used = status.capacity.map(|capacity| {
        let percent = u128::from(status.bytes) * 100 / u128::from(capacity.max(1));
        format!("{percent}% of {}", bytes(capacity))
    });
    let newest =
        view.snapshots.iter().next().map(|snapshot| format!("the newest {}", ago(snapshot.time, shown.now)));
    let check = status.check.as_ref();
    html! {
        dl.tiles {
            div { dt { "Sources up to date" } dd { (fine) " of " (watched) } dd.more { @match status.sources.iter().filter(|source| source.running.is_some()).count() { 0 => "none is being backed up now", 1 => "one is being backed up now", running => { (running) " are being backed up now" } } } }
            div { dt { "Snapshots" } dd { (view.snapshots.len()) } dd.more { (newest.unwrap_or_else(|| "none yet".into())) } }
            div { dt { "Stored" } dd { (bytes(status.bytes)) } dd.more { (used.unwrap_or_else(|| "no capacity is configured".into())) } }
            div {
                dt { "Last check" }
                dd { @match check { Some(check) if check.result == RunResult::Done => "clean", Some(_) => "damage or failure", None => "never" } }
                dd.more { @match check { Some(check) => (ago(check.time, shown.now)), None => (with_code("`strongroom check` does one")) } }
            }
        }
    }
}

/// What somebody should know, and do.
pub(super) fn findings(shown: Shown<'_>, findings: &[Finding]) -> Markup {
    html! {
        section {
            h2 { "Findings" }
            ul.findings {
                @for finding in findings {
                    li.(finding.severity.name()) {
                        div.line {
                            (severity(finding.severity))
                            @if let Some(source) = &finding.source { a href={ "/sources/" (path_part(source)) } { (source) } }
                            @if let Some(since) = finding.since { span.since title=(since) { "since " (time(since)) " (" (ago(since, shown.now)) ")" } }
                        }
                        p { (finding.what) }
                        p.advice { (with_code(&finding.advice())) }
                    }
                }
            }
        }
    }
}

fn sources(shown: Shown<'_>, sources: &[SourceStatus]) -> Markup {
    html! {
        section {
            h2 { "Sources" }
            @if sources.is_empty() { p.empty { "The configuration names no source, and the repository has no snapshot." } }
            @else {
                table.cards {
                    thead { tr {
                        th scope="col" { "Source" } th scope="col" { "State" } th scope="col" { "Last snapshot" } th scope="col" { "May be" }
                        th scope="col" { "Next" } th.number scope="col" { "Size" } th.number scope="col" { "Stored" } th.number scope="col" { "Snapshots" }
                    } }
                    tbody { @for source in sources { (row(shown, source)) } }
                }
            }
        }
    }
}

fn row(shown: Shown<'_>, source: &SourceStatus) -> Markup {
    let last = source.last_success();
    html! {
        tr {
            th scope="row" data-label="Source" {
                a href={ "/sources/" (path_part(&source.name)) } { (source.name) }
                @if let Some(engine) = &source.engine { span.engine { (engine) } }
            }
            td data-label="State" { (state(source)) @if source.running.is_some() { " " (badge("running", "running")) } }
            td.short data-label="Last snapshot" { @match last { Some(last) => span title=(last.time) { (ago(last.time, shown.now)) }, None => "never" } }
            td data-label="May be" { (objective(source)) }
            td.short data-label="Next" { @match source.next { Some(next) => span title=(next) { (ago(next, shown.now)) }, None => "by hand" } }
            td.number data-label="Size" { @match last { Some(last) => (bytes(last.sizes.logical)), None => "–" } }
            td.number data-label="Stored" { @match last { Some(last) => (bytes(last.sizes.stored)), None => "–" } }
            td.number data-label="Snapshots" { (source.held.snapshots) }
        }
    }
}

/// How old its newest snapshot may be.
pub(super) fn objective(source: &SourceStatus) -> String {
    let of = |longest: std::time::Duration| span(i64::try_from(longest.as_secs()).unwrap_or(i64::MAX));
    match (source.expected.rpo, source.expected.expect_every) {
        (Some(rpo), _) => format!("{} old (RPO)", of(rpo)),
        (None, Some(every)) => format!("{} old", of(every)),
        (None, None) if source.next.is_some() => "as its schedule says".into(),
        (None, None) => "–".into(),
    }
}

/// Charts of days; honest where there are none.
pub(super) fn growth<'a>(attempts: impl Iterator<Item = &'a Attempt>, shown: Shown<'_>) -> Markup {
    let days = days(attempts, shown.now);
    if days.is_empty() {
        return html! { p.empty { "No backup of the last 30 days: there is no data to show yet." } };
    }
    let of = |title, class, size: fn((u64, u64)) -> u64| {
        let most = days.iter().filter_map(|day| day.sizes).map(size).max().unwrap_or(0);
        let last = days.iter().rev().find_map(|day| day.sizes).map(size).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a height is shown")]
        let share = |bytes: u64| bytes as f64 / most.max(1) as f64;
        let bar = |day: &Day| (day.date, day.sizes.map(size).map(|size| (share(size), bytes(size))));
        let bars = days.iter().map(bar).collect();
        Chart { title, key: format!("last day {}", bytes(last)), bars, top: bytes(most), class }.render()
    };
    let saved = |share: f64| format!("{:.1}%", share * 100.0);
    let bars = days.iter().map(|day| (day.date, day.saved().map(|share| (share, saved(share))))).collect();
    let key = days.iter().rev().find_map(Day::saved).map(|share| format!("last day {}", saved(share)));
    let ratio = Chart {
        title: "Saved a day",
        key: key.unwrap_or_default(),
        bars,
        top: "100%".into(),
        class: "saved",
    };
    html! {
        div.charts {
            (of("Backed up a day", "logical", |(logical, _)| logical))
            (of("Stored a day", "stored", |(_, stored)| stored))
            (ratio.render())
        }
        p.note { "Saved is what deduplication, compression and deltas took off. A day is one of UTC; where there is no bar, there was no backup." }
        details {
            summary { "The same as a table" }
            table {
                thead { tr { th scope="col" { "Day (UTC)" } th.number scope="col" { "Backed up" } th.number scope="col" { "Stored" } th.number scope="col" { "Saved" } } }
                tbody {
                    @for day in days.iter().rev() {
                        tr {
                            th scope="row" { (day.date) }
                            @match day.sizes {
                                Some((logical, stored)) => {
                                    td.number { (bytes(logical)) } td.number { (bytes(stored)) }
                                    td.number { (day.saved().map_or_else(|| "–".into(), saved)) }
                                }
                                None => { td.number colspan="3" { "no backup" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tests(shown: Shown<'_>, sources: &[SourceStatus]) -> Markup {
    let tested: Vec<_> = sources.iter().filter_map(|source| Some((source, source.last_test()?))).collect();
    html! {
        section {
            h2 { "Restore tests" }
            @if tested.is_empty() { p.empty { (with_code("No restore was tested yet: whether a backup comes back is not known before. `[verify]` in the configuration tests them, or `strongroom verify`.")) } }
            @else {
                table.cards {
                    thead { tr { th scope="col" { "Source" } th scope="col" { "Result" } th scope="col" { "When" } th scope="col" { "Restore took" } th scope="col" { "May take (RTO)" } } }
                    tbody { @for (source, test) in tested {
                        tr {
                            th scope="row" data-label="Source" { a href={ "/sources/" (path_part(&source.name)) } { (source.name) } }
                            td data-label="Result" { @if test.is_good { (badge("good", "restores as it was")) } @else { (badge("critical", "failed")) @if let Some(error) = &test.error { p.error { (error) } } } }
                            td.short data-label="When" { span title=(test.time) { (ago(test.time, shown.now)) } }
                            td.short data-label="Restore took" { (test.restore_seconds.map_or_else(|| "–".into(), took)) }
                            td.short data-label="May take (RTO)" { (source.expected.rto.map_or_else(|| "–".into(), |rto| took(rto.as_secs_f64()))) }
                        }
                    } }
                }
            }
        }
    }
}

fn logs(shown: Shown<'_>, view: &View) -> Markup {
    let lag = |log: &LogStatus| log.lag(shown.now).map_or_else(|| "–".into(), |lag| took(lag.as_secs_f64()));
    html! {
        section {
            h2 { "Log archives (WAL)" }
            table.cards {
                thead { tr { th scope="col" { "Source" } th scope="col" { "State" } th scope="col" { "Lag" } th scope="col" { "Newest" } th.number scope="col" { "Segments" } th scope="col" { "Missing" } th.number scope="col" { "Stored" } } }
                tbody { @for log in &view.status.logs {
                    @let late = view.status.findings.iter().any(|finding| finding.kind == strongroom_ops::status::Kind::WalLate && finding.source.as_deref() == Some(&log.source));
                    tr {
                        th scope="row" data-label="Source" { a href={ "/sources/" (path_part(&log.source)) } { (log.source) } }
                        td data-label="State" { @if log.missing_segments > 0 { (badge("critical", "has gaps")) } @else if late { (badge("critical", "late")) } @else if log.newest.is_none() { (badge("plain", "nothing yet")) } @else { (badge("good", "no gaps")) } }
                        td.short data-label="Lag" { (lag(log)) }
                        td data-label="Newest" { @if log.newest.is_some() { code { (log.newest_file) } } @else { "never" } }
                        td.number data-label="Segments" { (log.segments) }
                        td data-label="Missing" { (log.missing_segments) @if !log.gaps.is_empty() { " (" (log.gaps.join(", ")) ")" } }
                        td.number data-label="Stored" { (bytes(log.stored_bytes)) }
                    }
                } }
            }
        }
    }
}

fn maintenance(shown: Shown<'_>, view: &View) -> Markup {
    let status = &view.status;
    let done = status.maintenance.iter().map(|(work, last)| (work.name(), last));
    let done: Vec<(&str, &Attempt)> =
        done.chain(status.check.as_ref().map(|check| ("check", check))).collect();
    let next = |job: &Job| job.source.is_none() || job.work != strongroom_ops::run::Work::Backup;
    let coming: Vec<_> = view.next.iter().filter(|(job, _)| next(job)).take(NEXT).collect();
    html! {
        section {
            h2 { "Maintenance" }
            @if done.is_empty() && coming.is_empty() { p.empty { "Nothing was forgotten, copied, pruned or checked by the configuration yet." } }
            @else {
                table.cards {
                    thead { tr { th scope="col" { "What" } th scope="col" { "Last" } th scope="col" { "When" } th scope="col" { "Where" } } }
                    tbody { @for (work, last) in done { tr {
                        th scope="row" data-label="What" { (work) }
                        td data-label="Last" { (result(last.result)) @if let Some(error) = &last.error { p.error { (error) } } }
                        td.short data-label="When" { span title=(last.time) { (ago(last.time, shown.now)) } }
                        td data-label="Where" { (last.host) }
                    } } }
                }
                @if !coming.is_empty() {
                    h3 { "Next" }
                    ul.next { @for (job, at) in coming { li { (job) ": " @if *at <= shown.now { "now" } @else { (time(*at)) } } } }
                }
            }
            @if !view.schedules { p.empty { "This server runs no schedules (--no-schedule)." } }
        }
    }
}
