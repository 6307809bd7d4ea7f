//! Servers that are more than one, or speak TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::process::Process;
use super::{Redis, answers};
use crate::patience::PATIENCE;

const POLL: Duration = Duration::from_millis(20);
/// How far below its port the port of its bus, or that of TLS, lies: where no system takes ports by itself.
const BELOW: u16 = 20_000;
const SLOTS: usize = 16384;

impl Redis {
    /// Masters of one cluster, which have the slots between them.
    ///
    /// # Errors
    /// When it does not come to be whole.
    pub fn start_cluster(program: &Path, masters: usize) -> Result<Vec<Self>> {
        let mut nodes = Vec::new();
        for _ in 0..masters {
            nodes.push(Self::start_by(program, |port| {
                vec![
                    "--cluster-enabled".into(),
                    "yes".into(),
                    "--cluster-port".into(),
                    (port - BELOW).to_string(),
                ]
            })?);
        }
        for (number, node) in nodes.iter().enumerate() {
            let (first, last) = (SLOTS * number / masters, SLOTS * (number + 1) / masters - 1);
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
            let first = nodes.first().context("no nodes")?.port();
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &first.to_string(), &(first - BELOW).to_string()])?;
        }
        let deadline = Instant::now() + PATIENCE;
        let is_whole = |node: &Self| -> Result<bool> {
            let info = node.ask(&["CLUSTER", "INFO"])?;
            Ok(info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{masters}")))
        };
        for node in &nodes {
            while !is_whole(node)? {
                ensure!(Instant::now() < deadline, "the cluster is not whole");
                std::thread::sleep(POLL);
            }
        }
        Ok(nodes)
    }

    /// A sentinel that knows this server by that name.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_sentinel(server: &Self, name: &str) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            let file = folder.join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {} 1\n",
                server.port()
            );
            let written = std::fs::write(&file, text);
            let mut command = Command::new(server.program());
            command.arg(if written.is_ok() { &file } else { Path::new("/nonexistent") }).arg("--sentinel");
            command
        };
        let process = Process::start("sentinel", command, answers)?;
        Ok(Self { process, program: server.program.clone(), tls_port: None })
    }

    /// One that also speaks TLS, with who has this certificate.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with_tls(program: &Path, certificate: &str, key: &str) -> Result<Self> {
        let mut server = Self::start_by(program, |port| {
            let port = (port - BELOW).to_string();
            let settings = [
                "--tls-port",
                &port,
                "--tls-cert-file",
                certificate,
                "--tls-key-file",
                key,
                "--tls-ca-cert-file",
                certificate,
            ];
            settings.map(str::to_owned).to_vec()
        })?;
        server.tls_port = Some(server.port() - BELOW);
        Ok(server)
    }

    /// The URL by which a client reaches it with TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls_port.unwrap_or_default())
    }

    /// With settings that depend on its port.
    fn start_by(program: &Path, settings: impl Fn(u16) -> Vec<String>) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(program);
            command.args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--daemonize",
                "no",
                "--save",
                "",
            ]);
            command.args(["--repl-diskless-sync-delay", "0"]).args(settings(port)).arg("--dir").arg(folder);
            command
        };
        let answers: fn(SocketAddr) -> bool = answers;
        Ok(Self {
            process: Process::start("redis", command, answers)?,
            program: program.to_owned(),
            tls_port: None,
        })
    }
}
