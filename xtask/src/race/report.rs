//! The table that a race ends with.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::contenders::Tool;
use super::measure::Measurement;
use super::{OPERATIONS, Operation};

/// Every measurement, by what was measured.
#[derive(Default)]
pub(super) struct Results(BTreeMap<(Operation, Tool), Vec<Measurement>>);

impl Results {
    pub(super) fn add(&mut self, operation: Operation, tool: Tool, measurement: Measurement) {
        self.0.entry((operation, tool)).or_default().push(measurement);
    }

    /// A Markdown table. The ratios are each tool's figure over the baseline's: above 1, the baseline is better.
    pub(super) fn table(&self, baseline: Tool) -> String {
        let mut text = format!(
            "| operation | tool | seconds (range) | CPU s | peak MiB | stored MB | added MB | × {baseline} seconds | × {baseline} added |\n\
             |---|---|---|---|---|---|---|---|---|\n"
        );
        for operation in OPERATIONS {
            let of_baseline = self.row(operation, baseline);
            for (_, tool) in self.0.keys().filter(|(of, _)| *of == operation) {
                let Some(row) = self.row(operation, *tool) else { continue };
                let ratio = |figure: fn(&Row) -> f64| ratio(figure(&row), of_baseline.as_ref().map(figure));
                let label = operation.label();
                // Writing to a String cannot fail.
                let _written = writeln!(
                    text,
                    "| {label} | {tool} | {:.2} ({:.2}-{:.2}) | {:.2} | {:.0} | {:.1} | {:.1} | {} | {} |",
                    row.seconds,
                    row.fastest,
                    row.slowest,
                    row.cpu_seconds,
                    row.peak_mib,
                    row.stored_mb,
                    row.added_mb,
                    ratio(|row| row.seconds),
                    ratio(|row| row.added_mb),
                );
            }
        }
        text
    }

    fn row(&self, operation: Operation, tool: Tool) -> Option<Row> {
        let runs = self.0.get(&(operation, tool))?;
        let of = |figure: fn(&Measurement) -> f64| sorted(runs.iter().map(figure).collect());
        let seconds = of(|run| run.seconds);
        let stored_mb = median(&of(|run| megabytes(run.stored_bytes)))?;
        let earlier = OPERATIONS.into_iter().take_while(|earlier| *earlier != operation).last();
        let before = earlier.and_then(|earlier| self.row(earlier, tool)).map_or(0.0, |row| row.stored_mb);
        Some(Row {
            seconds: median(&seconds)?,
            fastest: *seconds.first()?,
            slowest: *seconds.last()?,
            cpu_seconds: median(&of(|run| run.cpu_seconds))?,
            peak_mib: median(&of(|run| run.peak_mib as f64))?,
            stored_mb,
            added_mb: stored_mb - before,
        })
    }
}

/// Bytes as megabytes of a million.
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The medians of one operation by one tool.
struct Row {
    seconds: f64,
    fastest: f64,
    slowest: f64,
    cpu_seconds: f64,
    peak_mib: f64,
    stored_mb: f64,
    added_mb: f64,
}

/// A ratio to next to nothing says nothing.
fn ratio(figure: f64, baseline: Option<f64>) -> String {
    match baseline {
        Some(baseline) if baseline >= 0.01 => format!("{:.2}", figure / baseline),
        _ => "-".to_owned(),
    }
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.get(sorted.len().saturating_sub(1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_table_compares_with_the_baseline() {
        let mut results = Results::default();
        let run =
            |seconds, stored_bytes| Measurement { seconds, cpu_seconds: 1.0, peak_mib: 50, stored_bytes };
        for seconds in [2.0, 1.0, 9.0] {
            results.add(Operation::FirstBackup, Tool::Strongroom, run(seconds, 10_000_000));
        }
        results.add(Operation::FirstBackup, Tool::Borg, run(5.0, 20_000_000));
        results.add(Operation::SameAgain, Tool::Borg, run(1.0, 20_100_000));
        let table = results.table(Tool::Strongroom);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| first backup | strongroom | 2.00 (1.00-9.00) | 1.00 | 50 | 10.0 | 10.0 | 1.00 | 1.00 |",
                "| first backup | borg | 5.00 (5.00-5.00) | 1.00 | 50 | 20.0 | 20.0 | 2.50 | 2.00 |",
                "| same data again | borg | 1.00 (1.00-1.00) | 1.00 | 50 | 20.1 | 0.1 | - | - |",
            ]
        );
    }
}
