//! A chart of one thing over days, as SVG without text: what is to be read stands around it, and keeps its size on any screen.

use jiff::civil::Date;
use maud::{Markup, html};

const WIDTH: usize = 600;
const HEIGHT: f64 = 100.0;

/// A bar for each day.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// Of the whole: what the last day with a value says.
    pub(super) key: String,
    /// A share of the height from 0 to 1, and what it is in words; `None` without data.
    pub(super) bars: Vec<(Date, Option<(f64, String)>)>,
    /// What the height stands for.
    pub(super) top: String,
    pub(super) class: &'static str,
}

impl Chart<'_> {
    pub(super) fn render(&self) -> Markup {
        let step = WIDTH / self.bars.len().max(1);
        let known = self.bars.iter().filter(|(_, bar)| bar.is_some()).count();
        let label = format!("{}: {known} of {} days have data. {}", self.title, self.bars.len(), self.key);
        let ends = self.bars.first().zip(self.bars.last());
        html! {
            figure.chart.(self.class) {
                figcaption { span.title { (self.title) } span.key { (self.key) } }
                div.top { (self.top) }
                svg role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
                    line.grid x1="0" x2=(WIDTH) y1="0.5" y2="0.5" {}
                    line.grid x1="0" x2=(WIDTH) y1="50" y2="50" {}
                    @for (at, (date, bar)) in self.bars.iter().enumerate() {
                        @match bar {
                            Some((share, words)) => {
                                @let height = (share.clamp(0.0, 1.0) * HEIGHT).max(1.5);
                                rect.bar x=(at * step + 2) width=(step.saturating_sub(4)) y=(format!("{:.1}", HEIGHT - height)) height=(format!("{height:.1}")) {
                                    title { (date) ": " (words) }
                                }
                            }
                            None => rect.gap x=(at * step + 2) width=(step.saturating_sub(4)) y="98" height="2" { title { (date) ": no backup" } }
                        }
                    }
                }
                @if let Some(((first, _), (last, _))) = ends { div.ends { span { (first) } span { (last) } } }
            }
        }
    }
}
