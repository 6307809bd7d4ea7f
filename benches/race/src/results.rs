//! Every measurement of a scenario.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contender::Tool;
use crate::measure::Measurement;
use crate::operation::{Metric, Operation};
use crate::spread::Spread;

/// One tool, one operation, once.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    /// Counts from 1.
    pub(crate) round: u32,
    pub(crate) operation: Operation,
    pub(crate) tool: Tool,
    #[serde(flatten)]
    pub(crate) measurement: Measurement,
    /// The length of the repository's files afterwards.
    pub(crate) stored_bytes: u64,
    /// And before.
    pub(crate) stored_before_bytes: u64,
}

impl Run {
    /// What the repository grew by; less than nothing after a prune.
    pub(crate) fn added_mb(&self) -> f64 {
        (self.stored_bytes as f64 - self.stored_before_bytes as f64) / 1e6
    }

    fn figure(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Seconds => self.measurement.seconds,
            Metric::AddedMb => self.added_mb(),
            Metric::PeakMib => self.measurement.peak_mib as f64,
        }
    }
}

/// All runs, in the order in which they were done.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Results(Vec<Run>);

impl Results {
    pub(crate) fn add(&mut self, run: Run) {
        self.0.push(run);
    }

    /// Over the rounds; of no one operation, the largest of each round's operations.
    pub(crate) fn spread(&self, tool: Tool, operation: Option<Operation>, metric: Metric) -> Option<Spread> {
        let mut rounds = BTreeMap::new();
        let of_operation = |run: &&Run| operation.is_none_or(|operation| operation == run.operation);
        for run in self.0.iter().filter(|run| run.tool == tool).filter(of_operation) {
            let largest = rounds.entry(run.round).or_insert(f64::NEG_INFINITY);
            *largest = run.figure(metric).max(*largest);
        }
        Spread::of(rounds.into_values())
    }

    /// Of any figure of an operation.
    pub(crate) fn median(
        &self,
        tool: Tool,
        operation: Operation,
        figure: impl Fn(&Run) -> f64,
    ) -> Option<f64> {
        Spread::of(self.of(tool, operation).map(figure)).map(|spread| spread.median)
    }

    /// The median seconds of each stage that the tool reports of the operation, the largest first.
    pub(crate) fn stages(&self, tool: Tool, operation: Operation) -> Vec<(String, f64)> {
        let mut seconds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for run in self.of(tool, operation) {
            for (stage, took) in &run.measurement.stages {
                seconds.entry(stage).or_default().push(*took);
            }
        }
        let mut stages: Vec<(String, f64)> = seconds
            .into_iter()
            .filter_map(|(stage, took)| Some((stage.to_owned(), Spread::of(took)?.median)))
            .collect();
        stages.sort_by(|a, b| b.1.total_cmp(&a.1));
        stages
    }

    fn of(&self, tool: Tool, operation: Operation) -> impl Iterator<Item = &Run> {
        self.0.iter().filter(move |run| run.tool == tool && run.operation == operation)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of so many seconds and megabytes added to a repository of 100, with a peak of so many MiB.
    pub(crate) fn run(round: u32, operation: Operation, tool: Tool, figures: (f64, u64, u64)) -> Run {
        let (seconds, added_mb, peak_mib) = figures;
        let stages = BTreeMap::from([("compress".to_owned(), seconds), ("hash".to_owned(), seconds / 3.0)]);
        let stages = if tool == Tool::Strongroom { stages } else { BTreeMap::new() };
        Run {
            round,
            operation,
            tool,
            measurement: Measurement { seconds, cpu_seconds: 2.0 * seconds, peak_mib, stages },
            stored_bytes: (100 + added_mb) * 1_000_000,
            stored_before_bytes: 100_000_000,
        }
    }

    #[test]
    fn figures_are_medians_over_the_rounds() {
        let mut results = Results::default();
        for (round, seconds) in [(1, 2.0), (2, 1.0), (3, 9.0)] {
            results.add(run(round, Operation::FirstBackup, Tool::Strongroom, (seconds, 10, 70)));
            results.add(run(round, Operation::Check, Tool::Strongroom, (1.0, 0, 60 + u64::from(round) * 10)));
        }
        let of = |operation, metric| results.spread(Tool::Strongroom, operation, metric).unwrap();
        let first = of(Some(Operation::FirstBackup), Metric::Seconds);
        assert_eq!(first, Spread { median: 2.0, lowest: 1.0, highest: 9.0 });
        assert_eq!(of(Some(Operation::FirstBackup), Metric::AddedMb).median, 10.0);
        assert_eq!(of(None, Metric::PeakMib), Spread { median: 80.0, lowest: 70.0, highest: 90.0 });
        assert_eq!(results.spread(Tool::Borg, None, Metric::PeakMib), None);
        let stages = results.stages(Tool::Strongroom, Operation::FirstBackup);
        assert_eq!((stages[0].0.as_str(), stages[0].1, stages[1].0.as_str()), ("compress", 2.0, "hash"));
    }
}
