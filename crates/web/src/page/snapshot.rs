//! One snapshot: its manifest, and what the engine knew of the data.

use maud::{Markup, html};

use super::shown::{ago, badge, bytes, path_part, time, took, with_code};
use super::source::link;
use super::{NotFound, Shown, framed, unknown};
use crate::view::{Facts, SnapshotView};

/// Its page, by its whole ID.
pub(crate) fn snapshot(shown: Shown<'_>, id: &str) -> Result<Markup, NotFound> {
    let Some(view) = shown.view else { return Ok(unknown(shown)) };
    let snapshot = view.snapshots.iter().find(|snapshot| snapshot.id == id).ok_or(NotFound)?;
    let short = &snapshot.id[..snapshot.id.len().min(8)];
    let content = html! {
        nav aria-label="Breadcrumb" {
            a href="/" { "Overview" } " / " a href={ "/sources/" (path_part(&snapshot.source)) } { (snapshot.source) }
        }
        h1 { "Snapshot " code { (short) } }
        (manifest(shown, snapshot))
        section {
            h2 { "To restore it" }
            pre { code { "strongroom restore " (short) " --target DIR" } }
        }
        section { h2 { "Facts" } (facts(&snapshot.facts)) }
        @if !snapshot.streams.is_empty() { (streams(snapshot)) }
    };
    Ok(framed(shown, &format!("Snapshot {short}"), false, &content))
}

fn manifest(shown: Shown<'_>, snapshot: &SnapshotView) -> Markup {
    html! {
        dl.facts {
            div.wide { dt { "ID" } dd { code { (snapshot.id) } } }
            div { dt { "Time" } dd { (time(snapshot.time)) " (" (ago(snapshot.time, shown.now)) ")" } }
            div { dt { "Took" } dd { (took(snapshot.seconds)) } }
            div { dt { "Engine" } dd { (snapshot.engine) } }
            div { dt { "Host" } dd { (snapshot.host) " (user " (snapshot.user) ")" } }
            div { dt { "Entries" } dd { (snapshot.entries) " (" (snapshot.files) " files and streams)" } }
            div { dt { "Size" } dd { (bytes(snapshot.bytes)) } }
            div { dt { "New" } dd { (bytes(snapshot.new_bytes)) } }
            div { dt { "Stored" } dd { (bytes(snapshot.stored_bytes)) } }
            div { dt { "Could not be read" } dd { @if snapshot.unreadable > 0 { (badge("warning", &snapshot.unreadable.to_string())) } @else { "nothing" } } }
            div { dt { "Parent" } dd { @match &snapshot.parent { Some(parent) => (link(shown.view, parent)), None => "none" } } }
            div { dt { "Tags" } dd { @if snapshot.tags.is_empty() { "none" } @for tag in &snapshot.tags { (badge("plain", tag)) " " } } }
            div { dt { "Holds" } dd { @if snapshot.holds.is_empty() { "none" } @for hold in &snapshot.holds { (badge("warning", hold)) " " } } }
            div { dt { "Journal" } dd { "entry " (snapshot.entry) ", signed by " (snapshot.signer) } }
            div { dt { "Made by" } dd { (snapshot.tool) } }
            @if !snapshot.arguments.is_empty() {
                div.wide { dt { "Asked for" } dd { @for argument in &snapshot.arguments { code { (argument) } " " } } }
            }
        }
    }
}

fn facts(facts: &Facts) -> Markup {
    html! {
        @match facts {
            Facts::None => p.empty { "Its engine notes none." },
            Facts::NotRead => p.empty { (with_code("It is an older snapshot: `strongroom show` tells them.")) },
            Facts::Unreadable(why) => p.error { "They cannot be read: " (why) },
            Facts::Known(json) => pre tabindex="0" { code { (json) } },
        }
    }
}

fn streams(snapshot: &SnapshotView) -> Markup {
    html! {
        section {
            h2 { "Streams" }
            table.cards {
                thead { tr { th scope="col" { "Stream" } th scope="col" { "Chunker" } th.number scope="col" { "Size" } } }
                tbody { @for stream in &snapshot.streams { tr {
                    th scope="row" data-label="Stream" { @if stream.name.is_empty() { "all files" } @else { (stream.name) } }
                    td data-label="Chunker" { (stream.chunker) }
                    td.number data-label="Size" { (bytes(stream.bytes)) }
                } } }
            }
        }
    }
}
