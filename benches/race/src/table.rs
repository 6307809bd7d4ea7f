//! The tables that a scenario ends with, as Markdown.

use std::fmt::Write;

use crate::bars::Bar;
use crate::contender::Tool;
use crate::operation::Metric;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::spread::Spread;
use crate::standing::Standing;

/// A row a figure that is compared, a column a tool.
pub(crate) fn standings(standings: &[Standing], tools: &[Tool]) -> String {
    let mut head = vec!["median (range)".to_owned()];
    head.extend(tools.iter().map(Tool::to_string));
    head.extend(["kopia's bar", "best peer", "ours/best", "bar", "reached", "bound by"].map(str::to_owned));
    let mut text = line(&head);
    text.push_str(&line(&head.iter().map(|_| "---".to_owned()).collect::<Vec<_>>()));
    for standing in standings {
        let number = |figure| number(figure, standing.metric);
        let mut cells = vec![standing.label.clone()];
        cells.extend(tools.iter().map(|tool| {
            standing.figures.get(tool).map_or(none(), |spread| with_range(spread, standing.metric))
        }));
        cells.push(standing.kopia.map_or(none(), number));
        cells.push(
            standing.best_peer.as_ref().map_or(none(), |(tool, best)| format!("{tool} {}", number(*best))),
        );
        cells.push(standing.ratio.map_or(none(), |ratio| format!("{ratio:.2}")));
        cells.push(match standing.bar {
            Some(Bar::OfBestPeer(part)) => format!("{part:.2}"),
            Some(Bar::AtMost(most)) => format!("≤ {}", number(most)),
            None => none(),
        });
        cells.push(standing.reached.map_or(none(), |reached| if reached { "yes" } else { "no" }.to_owned()));
        cells.push(standing.bound_by.as_ref().map_or(none(), |stage| {
            format!("{} {:.2} s ({:.0}%)", stage.name, stage.seconds, 100.0 * stage.share)
        }));
        text.push_str(&line(&cells));
    }
    text
}

/// A row an operation and tool: everything that was measured.
pub(crate) fn details(scenario: Scenario, tools: &[Tool], results: &Results) -> String {
    let head = ["operation", "tool", "s", "CPU s", "peak MiB", "MB more", "MB in all"].map(str::to_owned);
    let mut text = line(&head);
    text.push_str(&line(&head.each_ref().map(|_| "---".to_owned())));
    for (operation, _) in scenario.steps() {
        for tool in tools {
            let spread = |metric| {
                let spread = results.spread(*tool, Some(*operation), metric);
                spread.map_or(none(), |spread| number(spread.median, metric))
            };
            let median = |figure: fn(&crate::results::Run) -> f64| {
                results.median(*tool, *operation, figure).map_or(none(), |figure| format!("{figure:.2}"))
            };
            text.push_str(&line(&[
                scenario.label(*operation).to_owned(),
                tool.to_string(),
                spread(Metric::Seconds),
                median(|run| run.measurement.cpu_seconds),
                spread(Metric::PeakMib),
                spread(Metric::AddedMb),
                median(|run| run.stored_bytes as f64 / 1e6),
            ]));
        }
    }
    text
}

/// A line an operation of which we report stages.
pub(crate) fn stages(scenario: Scenario, results: &Results) -> String {
    let mut text = String::new();
    for (operation, _) in scenario.steps() {
        let stages = results.stages(Tool::Strongroom, *operation);
        if !stages.is_empty() {
            let stages: Vec<String> =
                stages.iter().map(|(stage, seconds)| format!("{stage} {seconds:.2} s")).collect();
            // Writing to a String cannot fail.
            let _written = writeln!(text, "- {}: {}", scenario.label(*operation), stages.join(", "));
        }
    }
    text
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn none() -> String {
    "-".to_owned()
}

fn with_range(spread: &Spread, metric: Metric) -> String {
    let Spread { median, lowest, highest } = *spread;
    let [median, lowest, highest] = [median, lowest, highest].map(|figure| number(figure, metric));
    if lowest == highest { median } else { format!("{median} ({lowest}-{highest})") }
}

fn number(figure: f64, metric: Metric) -> String {
    match metric {
        Metric::Seconds | Metric::AddedMb => format!("{figure:.2}"),
        Metric::PeakMib => format!("{figure:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bars;
    use crate::operation::Operation;
    use crate::results::tests::run;

    const TOOLS: [Tool; 2] = [Tool::Strongroom, Tool::Restic];

    fn results() -> Results {
        let mut results = Results::default();
        for (round, seconds) in [(1, 1.0), (2, 1.5), (3, 2.0)] {
            results.add(run(round, Operation::FirstBackup, Tool::Strongroom, (seconds, 20, 70)));
            results.add(run(round, Operation::FirstBackup, Tool::Restic, (5.0, 30, 90)));
        }
        results
    }

    #[test]
    fn a_row_says_it_all() {
        let rows = &bars::rows(Scenario::Database)[..2];
        let results = results();
        let rows: Vec<Standing> =
            rows.iter().map(|row| Standing::of(row, Scenario::Database, &TOOLS, &results)).collect();
        let table = standings(&rows, &TOOLS);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "| median (range) | strongroom | restic | kopia's bar | best peer | ours/best | bar | reached | bound by |",
                "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
                "| first backup, s | 1.50 (1.00-2.00) | 5.00 | 5.78 | restic 5.00 | 0.30 | 0.40 | yes | compress 1.50 s (75%) |",
                "| first backup, MB stored | 20.00 | 30.00 | - | restic 30.00 | 0.67 | - | - | - |",
            ]
        );
    }

    #[test]
    fn details_leave_nothing_out() {
        let table = details(Scenario::Redis, &TOOLS, &results());
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "| first backup | strongroom | 1.50 | 3.00 | 70 | 20.00 | 120.00 |");
        assert_eq!(lines[5], "| restore to a pipe | restic | - | - | - | - | - |");
        assert_eq!(stages(Scenario::Redis, &results()), "- first backup: compress 1.50 s, hash 0.50 s\n");
    }
}
