//! What is compared, and what is aimed at: the rows of each scenario's table.
//!
//! kopia comes from no package registry, so it does not race. Where it and restic were measured side by side (restic
//! 0.19, kopia built from its source; a dump of 415 MB, and the Linux sources), a row knows both figures, and kopia's
//! place in this race is restic's measured figure times their ratio.

use serde::Serialize;

use crate::operation::{Metric, Operation};
use crate::scenario::Scenario;

/// How good is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// At most this part of the best peer's figure.
    OfBestPeer(f64),
    /// At most this.
    AtMost(f64),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// All of them, if none.
    pub(crate) operation: Option<Operation>,
    pub(crate) metric: Metric,
    pub(crate) bar: Option<Bar>,
    /// kopia's figure and restic's, as measured side by side.
    pub(crate) kopia_and_restic: Option<(f64, f64)>,
}

const PEAK: Bar = Bar::AtMost(200.0);

const DATABASE: [Row; 13] = [
    of_best(Operation::FirstBackup, Metric::Seconds, 0.4, (6.05, 5.23)),
    no_bar(Operation::FirstBackup, Metric::AddedMb),
    of_best(Operation::SameAgain, Metric::Seconds, 0.2, (2.25, 1.80)),
    of_best(Operation::NextDay, Metric::Seconds, 0.35, (2.99, 2.29)),
    of_best(Operation::NextDay, Metric::AddedMb, 0.25, (21.7, 15.6)),
    of_best(Operation::Restore, Metric::Seconds, 0.35, (2.20, 1.82)),
    of_best(Operation::Check, Metric::Seconds, 0.3, (2.94, 1.63)),
    no_bar(Operation::UniformDay, Metric::Seconds),
    Row {
        operation: Some(Operation::UniformDay),
        metric: Metric::AddedMb,
        bar: Some(Bar::OfBestPeer(0.05)),
        kopia_and_restic: None,
    },
    no_bar(Operation::RestoreUniform, Metric::Seconds),
    no_bar(Operation::CheckUniform, Metric::Seconds),
    of_best(Operation::ForgetAndPrune, Metric::Seconds, 0.7, (0.37, 1.31)),
    Row { operation: None, metric: Metric::PeakMib, bar: Some(PEAK), kopia_and_restic: Some((244.0, 158.0)) },
];

const FILES: [Row; 9] = [
    of_best(Operation::FirstBackup, Metric::Seconds, 0.5, (18.1, 20.5)),
    no_bar(Operation::FirstBackup, Metric::AddedMb),
    of_best(Operation::SameAgain, Metric::Seconds, 0.5, (2.1, 5.4)),
    of_best(Operation::NextDay, Metric::Seconds, 0.5, (2.8, 5.1)),
    Row {
        operation: Some(Operation::NextDay),
        metric: Metric::AddedMb,
        bar: None,
        kopia_and_restic: Some((4.7, 5.8)),
    },
    of_best(Operation::Restore, Metric::Seconds, 0.65, (57.3, 16.6)),
    of_best(Operation::Check, Metric::Seconds, 0.3, (9.8, 5.3)),
    no_bar(Operation::ForgetAndPrune, Metric::Seconds),
    Row { operation: None, metric: Metric::PeakMib, bar: Some(PEAK), kopia_and_restic: Some((318.0, 177.0)) },
];

const REDIS: [Row; 6] = [
    no_bar(Operation::FirstBackup, Metric::Seconds),
    no_bar(Operation::FirstBackup, Metric::AddedMb),
    no_bar(Operation::NextDay, Metric::Seconds),
    no_bar(Operation::NextDay, Metric::AddedMb),
    no_bar(Operation::Restore, Metric::Seconds),
    Row { operation: None, metric: Metric::PeakMib, bar: Some(PEAK), kopia_and_restic: None },
];

const INPUT: [Row; 9] = [
    no_bar(Operation::FirstBackup, Metric::Seconds),
    no_bar(Operation::FirstBackup, Metric::AddedMb),
    no_bar(Operation::SameAgain, Metric::Seconds),
    no_bar(Operation::NextDay, Metric::Seconds),
    no_bar(Operation::NextDay, Metric::AddedMb),
    no_bar(Operation::Restore, Metric::Seconds),
    no_bar(Operation::Check, Metric::Seconds),
    no_bar(Operation::ForgetAndPrune, Metric::Seconds),
    Row { operation: None, metric: Metric::PeakMib, bar: Some(PEAK), kopia_and_restic: None },
];

/// In the order of the table.
pub(crate) fn rows(scenario: Scenario) -> &'static [Row] {
    match scenario {
        Scenario::Database => &DATABASE,
        Scenario::Files => &FILES,
        Scenario::Redis => &REDIS,
        Scenario::Input => &INPUT,
    }
}

const fn of_best(operation: Operation, metric: Metric, part: f64, kopia_and_restic: (f64, f64)) -> Row {
    Row {
        operation: Some(operation),
        metric,
        bar: Some(Bar::OfBestPeer(part)),
        kopia_and_restic: Some(kopia_and_restic),
    }
}

const fn no_bar(operation: Operation, metric: Metric) -> Row {
    Row { operation: Some(operation), metric, bar: None, kopia_and_restic: None }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_row_is_measured() {
        for scenario in Scenario::value_variants().iter().copied().chain([Scenario::Input]) {
            for row in rows(scenario) {
                let measured = |operation| scenario.steps().iter().any(|(step, _)| *step == operation);
                assert!(row.operation.is_none_or(measured), "{scenario}: {row:?}");
            }
        }
    }
}
