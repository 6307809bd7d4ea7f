//! A browser without a screen, by its DevTools protocol over a pair of pipes
//! (<https://chromedevtools.github.io/devtools-protocol/>): no port, no web sockets.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::started_or_unavailable;

/// Names the program; `cargo xtask test` sets it.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_CHROMIUM";

/// Where Debian has it.
const INSTALLED: &str = "/usr/bin/chromium";

/// The program.
///
/// # Errors
/// When it is not there.
pub fn find_program() -> Result<PathBuf> {
    let path = std::env::var_os(BINARY_VARIABLE).map_or_else(|| PathBuf::from(INSTALLED), PathBuf::from);
    ensure!(path.is_file(), "{} is not there (`cargo xtask test` installs it)", path.display());
    Ok(path)
}

/// A running browser with one page; dropping it ends it.
pub struct Chromium {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    session: Option<String>,
    next: u64,
    events: Vec<Value>,
    _folder: TempDir,
}

impl Chromium {
    /// Starts it with an empty page; `None` where there is none.
    ///
    /// # Errors
    /// When it is there and does not start.
    pub fn start() -> Result<Option<Self>> {
        started_or_unavailable("chromium", find_program(), |program| Self::start_program(&program))
    }

    fn start_program(program: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("strongroom-chromium-").tempdir()?;
        let (to, from) = (folder.path().join("commands"), folder.path().join("answers"));
        let made = Command::new("mkfifo").args([&to, &from]).status().context("cannot make pipes")?;
        ensure!(made.success(), "cannot make pipes");
        let mut shell = Command::new("sh");
        // It reads commands from 3, and writes answers to 4.
        shell.args(["-c", r#"in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out""#, "sh"]).arg(&to).arg(&from);
        shell.arg(program).args(["--remote-debugging-pipe", "--headless", "--no-sandbox", "--disable-gpu"]);
        shell.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
        shell.args(["--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "about:blank"]);
        shell.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        shell.env("HOME", folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = shell.spawn().context("cannot start the browser")?;
        let commands = File::options().write(true).open(&to).context("the browser takes no commands")?;
        let answers = BufReader::new(File::open(&from).context("the browser gives no answers")?);
        let (session, next, events) = (None, 1, Vec::new());
        let mut browser = Self { child, commands, answers, session, next, events, _folder: folder };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Log", "Runtime"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Has a command done; events that come meanwhile are kept.
    ///
    /// # Errors
    /// When the browser refuses it, or is gone.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        let id = self.next;
        self.next += 1;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).context("the browser is gone")?;
        loop {
            let said = self.read()?;
            if said["id"] == id {
                ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
                return Ok(said["result"].clone());
            }
            self.events.push(said);
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut said = Vec::new();
        if self.answers.read_until(0, &mut said).context("the browser is gone")? == 0 {
            bail!("the browser ended");
        }
        said.pop();
        serde_json::from_slice(&said).context("the browser says no JSON")
    }

    /// Sets the size of its window, and whether its user likes it dark.
    ///
    /// # Errors
    /// As [`Chromium::call`].
    pub fn look_like(&mut self, width: u32, is_dark: bool) -> Result<()> {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media).map(drop)
    }

    /// Opens a page and waits until all of it is there; gives what happened.
    ///
    /// # Errors
    /// As [`Chromium::call`]; when the page cannot be had.
    pub fn open(&mut self, url: &str) -> Result<Vec<Value>> {
        self.events.clear();
        let went = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(went["errorText"].is_null(), "{url}: {}", went["errorText"]);
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read()?;
            self.events.push(event);
        }
        // What was said before this was done is there.
        self.evaluate("document.readyState")?;
        Ok(std::mem::take(&mut self.events))
    }

    /// What an expression comes to in the page: by the browser's own means, whatever the page's policy says.
    ///
    /// # Errors
    /// As [`Chromium::call`].
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let said =
            self.call("Runtime.evaluate", &json!({ "expression": expression, "returnByValue": true }))?;
        ensure!(said["exceptionDetails"].is_null(), "{expression}: {}", said["exceptionDetails"]);
        Ok(said["result"]["value"].clone())
    }

    /// A picture of the whole page, as PNG.
    ///
    /// # Errors
    /// As [`Chromium::call`].
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        let said =
            self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }))?;
        let data = said["data"].as_str().context("there is no picture")?;
        base64::engine::general_purpose::STANDARD.decode(data).context("the picture is none")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.session = None;
        // It ends all that it started; what does not is killed.
        let _asked = self.call("Browser.close", &json!({}));
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
