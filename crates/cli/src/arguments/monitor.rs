//! Of `monitor`.

use std::path::PathBuf;

use clap::Args;

use super::parsers::path_parser;

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Say what somebody should know: failures, missed backups, restore tests, sizes, damage (default). Exit code 1 when something
    /// must be looked at
    #[arg(long)]
    pub(crate) check: bool,
    /// Say how each source stands
    #[arg(long)]
    pub(crate) report: bool,
    /// Tell all of the configuration's [notify.NAME] what is new: each finding once, again after a time, and when it is over. Exit
    /// code 3 when somebody could not be told
    #[arg(long)]
    pub(crate) alerts: bool,
    /// Write metrics for Prometheus to standard output
    #[arg(long, conflicts_with_all = ["check", "report", "alerts", "json"])]
    pub(crate) metrics: bool,
    /// Write metrics to a file of the node exporter's textfile collector: FOLDER/strongroom.prom
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub(crate) textfile: Option<PathBuf>,
    /// Push metrics to a Pushgateway: http://HOST:9091; of several clusters each has a group of its own,
    /// http://HOST:9091/metrics/job/strongroom/cluster/NAME
    #[arg(long, value_name = "URL")]
    pub(crate) push: Option<String>,
}
