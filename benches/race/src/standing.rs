//! Where we stand: the figures of each row, against the best peer's and the bar.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bars::{Bar, Row};
use crate::contender::Tool;
use crate::operation::Metric;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::spread::Spread;

/// What is in no stage.
const ELSEWHERE: &str = "no stage";

/// A row of the table, with its figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Standing {
    pub(crate) label: String,
    pub(crate) metric: Metric,
    pub(crate) figures: BTreeMap<Tool, Spread>,
    /// Where kopia would be: restic's figure times what kopia took of it elsewhere.
    pub(crate) kopia: Option<f64>,
    pub(crate) best_peer: Option<(String, f64)>,
    /// Ours over the best peer's: below 1, ours is better.
    pub(crate) ratio: Option<f64>,
    pub(crate) bar: Option<Bar>,
    pub(crate) reached: Option<bool>,
    pub(crate) bound_by: Option<Stage>,
}

/// The stage that takes most of our threads' time, which is the time that they hold it, not only a processor's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// Its part of all stages' time.
    pub(crate) share: f64,
}

impl Standing {
    pub(crate) fn of(row: &Row, scenario: Scenario, tools: &[Tool], results: &Results) -> Self {
        let spread = |tool: &Tool| Some((*tool, results.spread(*tool, row.operation, row.metric)?));
        let figures: BTreeMap<Tool, Spread> = tools.iter().filter_map(spread).collect();
        let median = |tool| figures.get(&tool).map(|spread: &Spread| spread.median);
        let kopia = row.kopia_and_restic.zip(median(Tool::Restic));
        let kopia = kopia.map(|((kopia, restic), measured)| measured * kopia / restic);
        let peers = figures.iter().filter(|(tool, _)| **tool != Tool::Strongroom);
        let best_peer = peers
            .map(|(tool, spread)| (tool.to_string(), spread.median))
            .chain(kopia.map(|figure| ("kopia".to_owned(), figure)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let ours = median(Tool::Strongroom);
        let ratio = ours.zip(best_peer.as_ref()).and_then(|(ours, (_, best))| ratio(ours, *best));
        let reached = match row.bar {
            Some(Bar::OfBestPeer(part)) => ratio.map(|ratio| ratio <= part),
            Some(Bar::AtMost(most)) => ours.map(|ours| ours <= most),
            None => None,
        };
        let timed = row.operation.filter(|_| row.metric == Metric::Seconds);
        let bound_by =
            timed.and_then(|operation| bounding(&results.stages(Tool::Strongroom, operation), ours?));
        let label = row.operation.map_or("all of them", |operation| scenario.label(operation));
        let label = format!("{label}, {}", row.metric.unit());
        Self { label, metric: row.metric, figures, kopia, best_peer, ratio, bar: row.bar, reached, bound_by }
    }
}

/// A ratio to next to nothing says nothing.
fn ratio(ours: f64, best: f64) -> Option<f64> {
    (best >= 0.01).then(|| ours / best)
}

/// The first of stages that come with the largest first; or else what no stage accounts for, of so many seconds from start
/// to end: two threads at once account for more than there are.
fn bounding(stages: &[(String, f64)], seconds: f64) -> Option<Stage> {
    let (name, largest) = stages.first()?;
    let all: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    let elsewhere = (seconds - all).max(0.0);
    let (name, largest) =
        if elsewhere > *largest { (ELSEWHERE, elsewhere) } else { (name.as_str(), *largest) };
    let share = largest / (all + elsewhere);
    (share > 0.0).then(|| Stage { name: name.to_owned(), seconds: largest, share })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;
    use crate::results::tests::run;

    const TOOLS: [Tool; 3] = [Tool::Strongroom, Tool::Restic, Tool::Borg];

    fn standing(metric: Metric, bar: Bar, kopia_and_restic: Option<(f64, f64)>) -> Standing {
        let mut results = Results::default();
        results.add(run(1, Operation::FirstBackup, Tool::Strongroom, (1.0, 3, 150)));
        results.add(run(1, Operation::FirstBackup, Tool::Restic, (4.0, 10, 90)));
        results.add(run(1, Operation::FirstBackup, Tool::Borg, (5.0, 9, 70)));
        let row = Row { operation: Some(Operation::FirstBackup), metric, bar: Some(bar), kopia_and_restic };
        Standing::of(&row, Scenario::Database, &TOOLS, &results)
    }

    #[test]
    fn the_best_peer_is_the_one_to_beat() {
        let standing = standing(Metric::Seconds, Bar::OfBestPeer(0.25), None);
        assert_eq!(standing.best_peer, Some(("restic".to_owned(), 4.0)));
        assert_eq!((standing.ratio, standing.reached), (Some(0.25), Some(true)));
        let stage = standing.bound_by.unwrap();
        assert_eq!((stage.name.as_str(), stage.seconds), ("compress", 1.0));
        assert!((stage.share - 0.75).abs() < 1e-9);
    }

    #[test]
    fn kopia_stands_where_restic_puts_it() {
        let standing = standing(Metric::Seconds, Bar::OfBestPeer(0.25), Some((1.0, 2.0)));
        assert_eq!((standing.kopia, standing.best_peer), (Some(2.0), Some(("kopia".to_owned(), 2.0))));
        assert_eq!((standing.ratio, standing.reached), (Some(0.5), Some(false)));
    }

    #[test]
    fn stored_bytes_and_peaks_are_judged_too() {
        let stored = standing(Metric::AddedMb, Bar::OfBestPeer(0.3), None);
        assert_eq!(stored.best_peer, Some(("borg".to_owned(), 9.0)));
        assert_eq!((stored.reached, stored.bound_by), (Some(false), None));
        assert_eq!(standing(Metric::PeakMib, Bar::AtMost(150.0), None).reached, Some(true));
        assert_eq!(standing(Metric::PeakMib, Bar::AtMost(149.0), None).reached, Some(false));
    }

    #[test]
    fn what_no_stage_accounts_for_is_said() {
        let stages = [("compress".to_owned(), 3.0), ("hash".to_owned(), 1.0)];
        let named =
            |seconds| bounding(&stages, seconds).map(|stage| (stage.name, stage.seconds, stage.share));
        assert_eq!(named(2.0), Some(("compress".to_owned(), 3.0, 0.75)));
        assert_eq!(named(6.0), Some(("compress".to_owned(), 3.0, 0.5)));
        assert_eq!(named(10.0), Some((ELSEWHERE.to_owned(), 6.0, 0.6)));
        assert_eq!(bounding(&[], 1.0), None);
    }

    #[test]
    fn without_peers_there_is_no_ratio() {
        let row = Row {
            operation: Some(Operation::Check),
            metric: Metric::Seconds,
            bar: Some(Bar::OfBestPeer(0.5)),
            kopia_and_restic: Some((1.0, 2.0)),
        };
        let mut results = Results::default();
        results.add(run(1, Operation::Check, Tool::Strongroom, (1.0, 0, 1)));
        let standing = Standing::of(&row, Scenario::Files, &TOOLS, &results);
        assert_eq!((standing.best_peer, standing.ratio, standing.reached), (None, None, None));
        assert_eq!(ratio(1.0, 0.001), None);
    }
}
