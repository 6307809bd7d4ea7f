//! What is left of a scenario: as text, and as a file of all figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bars;
use crate::contender::{Contender, Tool};
use crate::data::Data;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::standing::Standing;
use crate::table;

/// A scenario that was run.
#[derive(Serialize)]
pub(crate) struct Report {
    scenario: Scenario,
    data: String,
    processors: usize,
    rounds: u32,
    versions: BTreeMap<Tool, String>,
    rows: Vec<Standing>,
    runs: Results,
}

impl Report {
    pub(crate) fn new(
        scenario: Scenario,
        data: &Data,
        contenders: &[Contender],
        rounds: u32,
        runs: Results,
    ) -> Self {
        let version = |contender: &Contender| (contender.tool, contender.version.clone());
        let versions: BTreeMap<Tool, String> = contenders.iter().map(version).collect();
        let tools: Vec<Tool> = versions.keys().copied().collect();
        let rows =
            bars::rows(scenario).iter().map(|row| Standing::of(row, scenario, &tools, &runs)).collect();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        Self { scenario, data: data.to_string(), processors, rounds, versions, rows, runs }
    }

    pub(crate) fn text(&self) -> String {
        let tools: Vec<Tool> = self.versions.keys().copied().collect();
        let versions: Vec<&str> = self.versions.values().map(String::as_str).collect();
        let mut text = format!(
            "\n## {}\n\n{}; {} rounds, {} processors; {}\n\n",
            self.scenario,
            self.data,
            self.rounds,
            self.processors,
            versions.join("; ")
        );
        text.push_str(&table::standings(&self.rows, &tools));
        text.push('\n');
        text.push_str(&table::details(self.scenario, &tools, &self.runs));
        let stages = table::stages(self.scenario, &self.runs);
        if !stages.is_empty() {
            // Writing to a String cannot fail.
            let _written = write!(text, "\nSeconds of our threads' time by stage:\n\n{stages}");
        }
        text
    }
}

/// Writes all of them, in the place of an earlier file.
pub(crate) fn write_json(path: &Path, reports: &[Report]) -> Result<()> {
    let mut text = serde_json::to_string_pretty(reports).context("the reports have no JSON")?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
