//! Pages: what is known in, HTML out. Every text is escaped by the templates; what may be secret was taken out before ([`View::redacted`]).
//!
//! No script and no style inside a page: the content security policy lets neither run.

mod chart;
mod growth;
mod overview;
mod shown;
mod snapshot;
mod source;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

pub(crate) use self::overview::overview;
use self::shown::{ago, time};
pub(crate) use self::snapshot::snapshot;
pub(crate) use self::source::source;
use crate::view::{Reading, View};

/// The one style sheet.
pub(crate) const STYLE: &str = include_str!("../../assets/style.css");
/// The one picture.
pub(crate) const ICON: &str = include_str!("../../assets/icon.svg");

/// What all pages are made of.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// What is known; `None` where the repository was never read.
    pub(crate) view: Option<&'a View>,
    pub(crate) reading: &'a Reading,
    pub(crate) now: Timestamp,
    /// Whether somebody logged in, and may log out.
    pub(crate) session: bool,
}

/// A page of which there is nothing to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFound;

/// A page around its content.
fn framed(shown: Shown<'_>, title: &str, refresh: bool, content: &Markup) -> Markup {
    let repository = shown.view.map(|view| view.repository.as_str());
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, refresh))
            body {
                header.top {
                    a.brand href="/" { (mark()) "Strongroom" }
                    @if let Some(repository) = repository { span.repository { (repository) } }
                    @if shown.session {
                        form method="post" action="/logout" { button.quiet type="submit" { "Log out" } }
                    }
                }
                main { (stale(shown)) (content) }
                footer {
                    @if let Some(view) = shown.view {
                        span { (view.tool) }
                        span { "fingerprint " code { (view.fingerprint) } }
                        span { "as of " (time(view.status.now)) }
                    }
                }
            }
        }
    }
}

fn head(title: &str, refresh: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            @if refresh { meta http-equiv="refresh" content="60"; }
            title { (title) " · Strongroom" }
            link rel="icon" type="image/svg+xml" href="/icon.svg";
            link rel="stylesheet" href="/style.css";
        }
    }
}

fn mark() -> Markup {
    html! { img src="/icon.svg" alt="" width="22" height="22"; }
}

/// What is shown is old, and why.
fn stale(shown: Shown<'_>) -> Markup {
    let Some(error) = &shown.reading.error else { return html! {} };
    html! {
        section.notice.critical role="alert" {
            h2 { "The repository cannot be read" }
            p { (error) }
            p {
                @match shown.reading.last {
                    Some(last) => { "What is shown is what was known " (ago(last, shown.now)) ", at " (time(last)) "." }
                    None => { "It has not been read since this server began." }
                }
            }
        }
    }
}

/// Where nothing is known yet.
fn unknown(shown: Shown<'_>) -> Markup {
    let content = html! {
        h1 { "Nothing is known yet" }
        @if shown.reading.error.is_none() { p { "The journal is being read. This page asks again by itself." } }
    };
    framed(shown, "Starting", true, &content)
}

/// Asks for the token.
pub(crate) fn login(problem: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Log in", false))
            body.login {
                main {
                    form.card method="post" action="/login" {
                        h1 { (mark()) "Strongroom" }
                        @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
                        label for="token" { "Access token" }
                        input #token name="token" type="password" autocomplete="current-password" required autofocus;
                        button type="submit" { "Log in" }
                    }
                }
            }
        }
    }
}

/// What went wrong, in place of a page.
pub(crate) fn failure(status: u16, what: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(what, false))
            body.login { main { div.card { h1 { (status) " " (what) } p { a href="/" { "To the overview" } } } } }
        }
    }
}

#[cfg(test)]
mod tests;
