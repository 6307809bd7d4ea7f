//! Judging TOML by a JSON Schema of 2020-12, as another implementation understands it: Python's `jsonschema`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{started_or_unavailable, tools};

/// The environment variable that names the Python; without it it comes from the tools folder.
pub const PYTHON_VARIABLE: &str = "STRONGROOM_TEST_SCHEMA";

/// The folder of its virtual environment in the tools folder.
pub const ENVIRONMENT: &str = "schema-python";

/// What that environment holds, as pip writes it.
pub const REQUIREMENTS: [&str; 1] = ["jsonschema==4.26.0"];

const PROGRAM: &str = include_str!("json_schema/judge.py");
const NAME: &str = "a judge of JSON Schemas (Python with jsonschema)";

/// What is wrong with each sample; `None` where there is nobody to judge.
///
/// # Errors
/// When the schema is none, or a sample is no TOML; when the judge is not there in CI.
pub fn judge(schema: &Value, samples: &[&str]) -> Result<Option<Vec<Vec<String>>>> {
    started_or_unavailable(NAME, find_python(), |python| {
        let mut command = Command::new(python);
        command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("the judge does not start")?;
        let asked = json!({ "schema": schema, "samples": samples }).to_string();
        let mut input = process.stdin.take().context("the judge reads nothing")?;
        input.write_all(asked.as_bytes())?;
        drop(input);
        let said = process.wait_with_output()?;
        ensure!(said.status.success(), "the judge failed: {}", said.status);
        serde_json::from_slice(&said.stdout).context("the judge says nothing that is understood")
    })
}

/// The Python that has the library.
///
/// # Errors
/// When it is not installed.
pub fn find_python() -> Result<PathBuf> {
    tools::program(PYTHON_VARIABLE, Path::new(ENVIRONMENT).join("bin/python"))
}
