//! One source: how it stands, its runs and its snapshots.

use maud::{Markup, html};
use strongroom_ops::status::SourceStatus;

use super::overview::{findings, growth, objective};
use super::shown::{ago, badge, bytes, path_part, result, state, time, took};
use super::{NotFound, Shown, framed, unknown};
use crate::view::{SnapshotView, View};

/// Snapshots of a page.
const PAGE: usize = 25;
/// Runs that are shown.
const RUNS: usize = 10;

/// Its page; `page` counts from 1.
pub(crate) fn source(shown: Shown<'_>, name: &str, page: usize) -> Result<Markup, NotFound> {
    let Some(view) = shown.view else { return Ok(unknown(shown)) };
    let source = view.status.sources.iter().find(|source| source.name == name).ok_or(NotFound)?;
    let own: Vec<&SnapshotView> = view.snapshots.iter().filter(|snapshot| snapshot.source == name).collect();
    let pages = own.len().div_ceil(PAGE).max(1);
    if !(1..=pages).contains(&page) {
        return Err(NotFound);
    }
    let first = (page - 1) * PAGE;
    let content = html! {
        nav aria-label="Breadcrumb" { a href="/" { "Overview" } " / Sources" }
        h1 { (source.name) " " (state(source)) }
        (facts(shown, source))
        @if page == 1 {
            @if !source.findings.is_empty() { (findings(shown, &source.findings)) }
            section { h2 { "Growth and savings" } (growth(source.backups.iter(), shown)) }
            (runs(shown, source))
        }
        (snapshots(shown, &own[first..own.len().min(first + PAGE)], own.len()))
        @if pages > 1 { (pager(name, page, pages)) }
    };
    Ok(framed(shown, name, page == 1, &content))
}

fn facts(shown: Shown<'_>, source: &SourceStatus) -> Markup {
    let success = source.last_success();
    let every = source.expected.expect_every.map(|every| took(every.as_secs_f64()));
    html! {
        dl.facts {
            div { dt { "Engine" } dd { (source.engine.as_deref().unwrap_or("not configured here")) } }
            div { dt { "Last snapshot" } dd { @match success { Some(last) => { (time(last.time)) " (" (ago(last.time, shown.now)) ")" }, None => "never" } } }
            div { dt { "The newest may be" } dd { (objective(source)) } }
            div { dt { "Expected every" } dd { (every.unwrap_or_else(|| "–".into())) } }
            div { dt { "Next backup" } dd { @match source.next { Some(next) => { (time(next)) " (" (ago(next, shown.now)) ")" }, None => "by hand" } } }
            div { dt { "Oldest recovery point" } dd { @match source.held.oldest { Some(oldest) => (time(oldest)), None => "–" } } }
            @if let Some(running) = &source.running {
                div { dt { "Running" } dd { (badge("running", "running")) " on " (running.began.host) " since " (time(running.since)) } }
            }
            @if let Some(test) = source.last_test() {
                div { dt { "Last restore test" } dd {
                    @if test.is_good { (badge("good", "good")) } @else { (badge("critical", "failed")) }
                    " " (ago(test.time, shown.now)) @if let Some(seconds) = test.restore_seconds { ", the restore took " (took(seconds)) }
                } }
            }
        }
    }
}

fn runs(shown: Shown<'_>, source: &SourceStatus) -> Markup {
    html! {
        section {
            h2 { "Last backups" }
            @if source.backups.is_empty() { p.empty { "None yet." } }
            @else {
                table.cards {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Result" } th scope="col" { "Took" } th scope="col" { "Where" } th scope="col" { "Snapshot" } } }
                    tbody { @for backup in source.backups.iter().rev().take(RUNS) { tr {
                        th scope="row" data-label="When" { span title=(backup.time) { (ago(backup.time, shown.now)) } }
                        td data-label="Result" { (result(backup.result)) @if let Some(error) = &backup.error { p.error { (error) } } }
                        td.short data-label="Took" { (backup.seconds.map_or_else(|| "–".into(), took)) }
                        td data-label="Where" { (backup.host) }
                        td data-label="Snapshot" { @match &backup.snapshot {
                            Some(id) => (link(shown.view, &id.to_hex())),
                            None => "–",
                        } }
                    } } }
                }
            }
        }
    }
}

/// Of one that was forgotten there is no page.
pub(super) fn link(view: Option<&View>, id: &str) -> Markup {
    let short = &id[..id.len().min(8)];
    let is_there = view.is_some_and(|view| view.snapshots.iter().any(|snapshot| snapshot.id == id));
    html! { @if is_there { a href={ "/snapshots/" (id) } { code { (short) } } } @else { code { (short) } " (forgotten)" } }
}

fn snapshots(shown: Shown<'_>, snapshots: &[&SnapshotView], all: usize) -> Markup {
    html! {
        section {
            h2 #snapshots { "Snapshots (" (all) ")" }
            @if snapshots.is_empty() { p.empty { "None." } }
            @else {
                table.cards {
                    thead { tr { th scope="col" { "Snapshot" } th scope="col" { "Time" } th.number scope="col" { "Size" } th.number scope="col" { "New" } th.number scope="col" { "Stored" } th scope="col" { "Tags and holds" } } }
                    tbody { @for snapshot in snapshots { tr {
                        th scope="row" data-label="Snapshot" { a href={ "/snapshots/" (snapshot.id) } { code { (&snapshot.id[..snapshot.id.len().min(8)]) } } }
                        td data-label="Time" { (time(snapshot.time)) span.since { " " (ago(snapshot.time, shown.now)) } }
                        td.number data-label="Size" { (bytes(snapshot.bytes)) }
                        td.number data-label="New" { (bytes(snapshot.new_bytes)) }
                        td.number data-label="Stored" { (bytes(snapshot.stored_bytes)) }
                        td data-label="Tags and holds" {
                            @for tag in &snapshot.tags { (badge("plain", tag)) " " }
                            @for hold in &snapshot.holds { (badge("warning", &format!("held: {hold}"))) " " }
                        }
                    } } }
                }
            }
        }
    }
}

fn pager(name: &str, page: usize, pages: usize) -> Markup {
    let to = |page: usize| format!("/sources/{}?page={page}#snapshots", path_part(name));
    html! {
        nav.pager aria-label="Pages of snapshots" {
            @if page > 1 { a rel="prev" href=(to(page - 1)) { "← newer" } }
            span { "page " (page) " of " (pages) }
            @if page < pages { a rel="next" href=(to(page + 1)) { "older →" } }
        }
    }
}
