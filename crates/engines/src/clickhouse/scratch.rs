//! A server for the test of a restore, that nobody else reaches.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_repository::monitor::Monitor;
use tempfile::TempDir;

use super::error::ClickHouseError;
use super::session::Session;
use crate::http::HttpTarget;

/// A server that does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// Somebody else may take the port between the moment it is found free and the moment the server binds it.
const PORT_ATTEMPTS: u32 = 5;
/// How much of its log is told when it does not start, bytes.
const TOLD_BYTES: usize = 2000;
/// The names of its program, and where packages put it besides PATH.
const PROGRAMS: [&str; 2] = ["clickhouse-server", "clickhouse"];
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/// A running server; dropping it stops it and deletes its files.
pub(super) struct Scratch {
    server: Child,
    target: HttpTarget,
    /// Its files.
    _folder: TempDir,
}

impl Scratch {
    /// Starts one, with its files below `parent`. `program` names it, or its folder.
    ///
    /// # Errors
    /// `NoProgram`; `Scratch` with what it said.
    pub(super) fn start(
        program: Option<&Path>,
        parent: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self, ClickHouseError> {
        let program = find(program).ok_or(ClickHouseError::NoProgram)?;
        let mut last = String::new();
        for _ in 0..PORT_ATTEMPTS {
            match Self::start_once(&program, parent, monitor) {
                Err(ClickHouseError::Scratch { why }) if why.to_lowercase().contains("in use") => last = why,
                started => return started,
            }
        }
        Err(ClickHouseError::Scratch { why: last })
    }

    fn start_once(program: &Path, parent: &Path, monitor: &dyn Monitor) -> Result<Self, ClickHouseError> {
        let failed =
            |error: io::Error| ClickHouseError::Scratch { why: format!("{}: {error}", parent.display()) };
        let folder =
            tempfile::Builder::new().prefix("strongroom-verify-").tempdir_in(parent).map_err(failed)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(failed)?
            .port();
        let password = random_password().map_err(failed)?;
        configure(folder.path(), port, &password).map_err(failed)?;
        let log = folder.path().join("log");
        let mut command = Command::new(program);
        if program.file_name().is_some_and(|name| name == "clickhouse") {
            command.arg("server");
        }
        command.arg(format!("--config-file={}", folder.path().join("config.xml").display()));
        command.current_dir(folder.path()).stdin(Stdio::null());
        // Nothing of what it is told to connect to.
        command.env_remove("CLICKHOUSE_PASSWORD").env_remove("CLICKHOUSE_USER");
        let out = File::create(&log).map_err(failed)?;
        command.stdout(out.try_clone().map_err(failed)?).stderr(out);
        let server = command.spawn().map_err(|error| ClickHouseError::Scratch {
            why: format!("{} cannot be started: {error}", program.display()),
        })?;
        let url = format!("http://127.0.0.1:{port}");
        let target = HttpTarget::parse(&url, port)
            .map_err(|source| ClickHouseError::Server { what: "no scratch server".into(), source })?
            .with_login(Some("default".into()), Some(password));
        let mut scratch = Self { server, target, _folder: folder };
        scratch.wait(&log, monitor)?;
        Ok(scratch)
    }

    /// How to reach it.
    pub(super) fn target(&self) -> &HttpTarget {
        &self.target
    }

    fn wait(&mut self, log: &Path, monitor: &dyn Monitor) -> Result<(), ClickHouseError> {
        let said = || {
            let text = fs::read_to_string(log).unwrap_or_default();
            let start = text.len().saturating_sub(TOLD_BYTES);
            let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            text[start..].trim().replace('\n', " / ")
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.server.try_wait() {
                return Err(ClickHouseError::Scratch { why: format!("it ended ({status}): {}", said()) });
            }
            match Session::open(&self.target) {
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < deadline && !monitor.is_cancelled() => std::thread::sleep(POLL),
                Err(error) => {
                    return Err(ClickHouseError::Scratch { why: format!("{error}: {}", said()) });
                }
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its files go, too: there is nothing to save.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The program that was named, or that of a folder, or else the one of this machine.
fn find(named: Option<&Path>) -> Option<PathBuf> {
    let in_folder =
        |folder: PathBuf| PROGRAMS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    if let Some(named) = named {
        return if named.is_dir() { in_folder(named.to_owned()) } else { Some(named.to_owned()) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from)).find_map(in_folder)
}

fn random_password() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn configure(folder: &Path, port: u16, password: &str) -> io::Result<()> {
    let path = |name: &str| format!("{}/{name}/", folder.display());
    for name in ["data", "tmp", "user_files", "format_schemas"] {
        DirBuilder::new().mode(0o700).create(folder.join(name))?;
    }
    let write = |name: &str, text: &str| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        file.write_all(text.as_bytes())
    };
    let (data, tmp, files, schemas) = (path("data"), path("tmp"), path("user_files"), path("format_schemas"));
    write(
        "config.xml",
        &format!(
            "<yandex><logger><level>error</level><console>1</console></logger><http_port>{port}</http_port>\
            <listen_host>127.0.0.1</listen_host><path>{data}</path><tmp_path>{tmp}</tmp_path>\
            <user_files_path>{files}</user_files_path><format_schema_path>{schemas}</format_schema_path>\
            <users_config>users.xml</users_config><default_profile>default</default_profile>\
            <default_database>default</default_database><mark_cache_size>268435456</mark_cache_size></yandex>"
        ),
    )?;
    write(
        "users.xml",
        &format!(
            "<yandex><profiles><default/></profiles><users><default><password>{password}</password>\
            <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>\
            <quotas><default/></quotas></yandex>"
        ),
    )
}
