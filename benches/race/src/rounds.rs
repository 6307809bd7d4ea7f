//! The rounds of a scenario.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::contender::{Contender, Place, Task, output};
use crate::data::{Data, Source, ensure_same};
use crate::measure::{self, Measurement, Output, Streams};
use crate::operation::Operation;
use crate::results::{Results, Run};
use crate::scenario::Scenario;
use crate::warm::read_all;

/// A contender in one round, with its new repository.
struct Lane<'a> {
    contender: &'a Contender,
    folder: TempDir,
    snapshots: usize,
    stored_bytes: u64,
}

/// Runs all steps so many times, each with new repositories; who starts changes. What was restored stays until all is
/// over: a file system that has just deleted many files searches long for free inodes, and whoever restores next waits.
pub(crate) fn run(
    time: &Path,
    contenders: &mut [Contender],
    scenario: Scenario,
    data: &mut Data,
    rounds: u32,
    folder: &Path,
) -> Result<Results> {
    let mut results = Results::default();
    let mut over = Vec::new();
    for round in 1..=rounds {
        eprintln!("{scenario}: round {round} of {rounds}");
        let mut lanes = Vec::new();
        for contender in &*contenders {
            lanes.push(Lane::new(contender, folder)?);
        }
        for (operation, day) in scenario.steps() {
            let source = data.turn_to(*day)?;
            for lane in &mut lanes {
                let label = format!("{}: {}", lane.contender.tool, scenario.label(*operation));
                let stored_before_bytes = lane.stored_bytes;
                let measurement = lane.measure(time, *operation, source).with_context(|| label.clone())?;
                let Measurement { seconds, peak_mib, .. } = measurement;
                let (tool, stored_bytes) = (lane.contender.tool, lane.stored_bytes);
                let run = Run {
                    round,
                    operation: *operation,
                    tool,
                    measurement,
                    stored_bytes,
                    stored_before_bytes,
                };
                eprintln!("  {label:40} {seconds:7.2} s {peak_mib:6} MiB {:9.2} MB more", run.added_mb());
                results.add(run);
            }
        }
        over.extend(lanes.into_iter().map(|lane| lane.folder));
        contenders.rotate_left(1);
    }
    // As they came.
    contenders.sort_by_key(|contender| contender.tool);
    Ok(results)
}

impl<'a> Lane<'a> {
    fn new(contender: &'a Contender, parent: &Path) -> Result<Self> {
        let folder = TempDir::new_in(parent).context("no folder for a repository")?;
        let place = Place(folder.path());
        contender.perform(&Task::Initialize, &place)?;
        let stored_bytes = measure::stored_bytes(&place.repository())?;
        Ok(Self { contender, folder, snapshots: 0, stored_bytes })
    }

    fn measure(&mut self, time: &Path, operation: Operation, source: Source<'_>) -> Result<Measurement> {
        let place = Place(self.folder.path());
        let (mut streams, restored) = (Streams::default(), place.restored());
        let task = match operation {
            Operation::FirstBackup | Operation::SameAgain | Operation::NextDay | Operation::UniformDay => {
                self.snapshots += 1;
                if let Source::Stream { file, .. } = source {
                    streams.feed = Some(file);
                }
                Task::BackUp { source, number: self.snapshots }
            }
            Operation::Restore | Operation::RestoreUniform => {
                match source {
                    Source::Stream { .. } => streams.output = Output::Dropped,
                    Source::Tree(_) => std::fs::create_dir(&restored).context("no folder to restore to")?,
                }
                Task::Restore { source, number: self.snapshots }
            }
            Operation::Check | Operation::CheckUniform => Task::Check,
            Operation::ForgetAndPrune => Task::ForgetAndPrune { old: self.contender.old_snapshots(&place)? },
        };
        read_all(source.path())?;
        read_all(&place.repository())?;
        let mut whole = Measurement::default();
        for command in self.contender.commands(&task, &place) {
            // What was written before goes to the disk now, and not while this is measured.
            output(&mut Command::new("sync"))?;
            whole = whole.and(measure::run(time, &command, streams)?);
            if let (Output::Dropped, Source::Stream { file, .. }) = (streams.output, source) {
                // Again, to see that it is what was backed up.
                let output = Output::Same(file);
                measure::run(time, &command, Streams { output, ..streams })?;
            }
        }
        if let (Operation::Restore, Source::Tree(tree)) = (operation, source) {
            ensure_same(tree, &self.contender.restored_tree(&place, tree))?;
        }
        self.stored_bytes = measure::stored_bytes(&place.repository())?;
        Ok(whole)
    }
}
