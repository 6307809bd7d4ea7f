//! A server as a child process that does not outlive the tests.
//!
//! Between the test and the server stands a shell that reads from a pipe which only the test process holds: when
//! that ends, however it ends, the pipe closes, and the shell kills the server and removes its folder. So servers
//! can be shared by the tests of a process, in statics, which are never dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::patience::PATIENCE;

const POLL: Duration = Duration::from_millis(20);
/// Somebody else may take the port between the moment it is found free and the moment the server binds it.
const PORT_ATTEMPTS: u32 = 10;

/// Runs `$2...` in the folder `$1` until it ends or standard input does. Interrupts are the test's business: what it
/// does about them ends the pipe.
const GUARD: &str = r#"
trap '' INT HUP TERM
folder=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- >"$folder/log" 2>&1 &
server=$!
{ read -r _ <&3; kill -KILL "$server"; } >/dev/null 2>&1 &
watch=$!
wait "$server" 2>/dev/null
status=$?
kill -KILL "$watch" 2>/dev/null
[ -e "$folder/keep" ] || rm -rf "$folder"
exit "$status"
"#;

/// A running server; dropping it stops it and deletes its folder.
#[derive(Debug)]
pub(super) struct Process {
    guard: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Process {
    /// Starts `command(port, folder)` on a free loopback port, with a new folder for its data, and waits until
    /// `answers` says that it does.
    ///
    /// # Errors
    /// When it ends, or does not answer for two minutes; the error quotes its log.
    pub(super) fn start(
        name: &str,
        command: impl Fn(u16, &Path) -> Command,
        answers: impl Fn(SocketAddr) -> bool,
    ) -> Result<Self> {
        for _ in 0..PORT_ATTEMPTS {
            let address = free_address()?;
            let folder = tempfile::Builder::new()
                .prefix(&format!("strongroom-{name}-"))
                .tempdir()
                .context("no temporary folder")?
                .keep();
            // Until the log has been read, if it does not start.
            let keep = folder.join("keep");
            std::fs::write(&keep, "").with_context(|| format!("cannot write {}", keep.display()))?;
            let guard = guarded(&command(address.port(), &folder), &folder).spawn();
            let guard = guard.with_context(|| format!("cannot run a shell for {name}"))?;
            let mut process = Self { guard, folder, address };
            let started = process.wait_until(&answers);
            let log = std::fs::read_to_string(process.folder.join("log")).unwrap_or_default();
            std::fs::remove_file(&keep).with_context(|| format!("cannot remove {}", keep.display()))?;
            match started {
                Ok(()) => return Ok(process),
                Err(_) if log.to_lowercase().contains("in use") => {}
                Err(error) => return Err(error.context(format!("{name} does not start; its log:\n{log}"))),
            }
        }
        bail!("{name} found no free port in {PORT_ATTEMPTS} attempts")
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its data is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn wait_until(&mut self, answers: &impl Fn(SocketAddr) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let answered = answers(self.address);
            // Somebody else's server on that port would answer too.
            if let Some(status) = self.guard.try_wait().context("cannot wait for a server")? {
                bail!("it ended: {status}");
            }
            if answered {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        bail!("it does not answer on {} for {} s", self.address, PATIENCE.as_secs())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ended = self.guard.wait();
        // A guard that was killed left it.
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn guarded(command: &Command, folder: &Path) -> Command {
    let mut guard = Command::new("sh");
    guard.args(["-c", GUARD, "sh"]).arg(folder).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guard.env(name, value),
            None => guard.env_remove(name),
        };
    }
    guard.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    guard
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    listener.local_addr().context("a listener without an address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::wait_for;

    fn sleeper(_: u16, _: &Path) -> Command {
        let mut command = Command::new("sleep");
        command.arg("3600");
        command
    }

    fn is_running(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// The server's process: the guard's child that is no shell.
    fn server_of(guard: u32) -> Option<u32> {
        let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).ok()?;
        let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
        })
    }

    #[test]
    fn a_dropped_server_is_gone_with_its_folder() {
        let process = Process::start("sleep", sleeper, |_| true).unwrap();
        let guard = process.guard.id();
        wait_for("the server is waited for", || server_of(guard).is_some());
        let (server, folder) = (server_of(guard).unwrap(), process.folder.clone());
        assert!(folder.exists());
        drop(process);
        assert!(!is_running(server) && !folder.exists());
    }

    #[test]
    fn a_server_does_not_outlive_the_pipe() {
        let mut process = Process::start("sleep", sleeper, |_| true).unwrap();
        let guard = process.guard.id();
        wait_for("the server is waited for", || server_of(guard).is_some());
        let (server, folder) = (server_of(guard).unwrap(), process.folder.clone());
        // What the end of a process does, and no destructor.
        drop(process.guard.stdin.take());
        std::mem::forget(process);
        wait_for("its end is waited for", || !is_running(server) && !folder.exists());
    }

    #[test]
    fn a_server_that_ends_is_quoted() {
        let failing = |_: u16, _: &Path| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such disk; exit 3"]);
            command
        };
        let error = format!("{:#}", Process::start("broken", failing, |_| false).unwrap_err());
        assert!(error.contains("broken does not start") && error.contains("no such disk"), "{error}");
    }
}
