//! Of `config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::parsers::path_parser;

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Say what is wrong with a configuration, with its line, and what cannot be on the servers that it names
    Check(ConfigCheck),
    /// Say what is in force, and where each value comes from: the command line, the environment, the file, or nothing of them
    Show,
    /// Write a JSON Schema of the configuration (2020-12) to standard output, for editors and checks
    Schema,
    /// Write a configuration to standard output that does what another's did: the JSON of a `backup-databases.py`
    Import {
        /// It
        #[arg(value_name = "FILE", value_parser = path_parser())]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConfigCheck {
    /// Do not ask the servers
    #[arg(long)]
    pub(crate) offline: bool,
    /// Folder of PostgreSQL's programs
    #[arg(long, env = "STRONGROOM_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
}
