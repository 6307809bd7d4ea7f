//! A node of a small chain: SQLite, RocksDB and LevelDB as real libraries write them, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{started_or_unavailable, tools};

/// Names the Python that has the libraries of the databases.
pub const PYTHON_VARIABLE: &str = "STRONGROOM_TEST_LEDGER";

/// The folder of its virtual environment in the tools folder.
pub const ENVIRONMENT: &str = "ledger-python";

/// What that environment holds, as pip writes it: LevelDB and RocksDB.
pub const REQUIREMENTS: [&str; 2] = ["plyvel==1.5.1", "rocksdict==0.3.29"];

const PROGRAM: &str = include_str!("ledger/node.py");
const NAME: &str = "a node (Python with plyvel and rocksdict)";

/// A running node; dropping it kills it.
#[derive(Debug)]
pub struct Node {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// Starts one on a data directory, with a log of its own elsewhere; `None` where its libraries are not installed, which is then
    /// already counted as a skipped test.
    ///
    /// # Errors
    /// When it does not start, or when it is not there in CI.
    pub fn start(data: &Path, log: &Path) -> Result<Option<Self>> {
        started_or_unavailable(NAME, find_python(), |python| {
            let mut command = Command::new(python);
            command.args(["-c", PROGRAM, "node"]).args([data, log]);
            let mut process = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("the node does not start")?;
            let orders = process.stdin.take().context("the node takes no orders")?;
            let answers = process.stdout.take().context("the node gives no answers")?;
            Ok(Self { process, orders, answers: BufReader::new(answers) })
        })
    }

    /// Has it do something, and gives its height and head then.
    ///
    /// # Errors
    /// When it died.
    pub fn order(&mut self, what: &str) -> Result<(u64, String)> {
        writeln!(self.orders, "{what}").context("the node died")?;
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the node died")?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("{what}: {line:?}"))?;
        let head = answer["head"].as_str().context("no head")?.to_owned();
        Ok((answer["height"].as_u64().context("no height")?, head))
    }

    /// Its number, as locks name it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the libraries of the databases find in a data directory.
///
/// # Errors
/// When one of them does not open.
pub fn inspect(data: &Path) -> Result<Value> {
    let found = Command::new(find_python()?).args(["-c", PROGRAM, "inspect"]).arg(data).output()?;
    let said = String::from_utf8_lossy(&found.stderr);
    ensure!(found.status.success(), "{} is not whole: {said}", data.display());
    serde_json::from_slice(&found.stdout).context("no answer")
}

/// The Python that has the libraries.
///
/// # Errors
/// When it is not installed.
pub fn find_python() -> Result<PathBuf> {
    tools::program(PYTHON_VARIABLE, Path::new(ENVIRONMENT).join("bin/python"))
}
