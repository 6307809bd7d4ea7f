//! A PostgreSQL server of the test's own.
//!
//! PostgreSQL refuses to run as root, so under root the server becomes the user `postgres` (or `nobody`), who
//! owns its folder. Nothing here outlives the machine, so it does not wait for the disk (`fsync = off`).

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use uzers::os::unix::UserExt;

use super::unavailable;

mod programs;
mod session;
mod text;

pub use session::Session;

/// Names the folder of `postgres`, `initdb`, `pg_dump` and the rest.
pub const BINARIES_VARIABLE: &str = "STRONGROOM_TEST_POSTGRES_BIN";

/// Names the folder of those of a newer version.
pub const NEWER_BINARIES_VARIABLE: &str = "STRONGROOM_TEST_POSTGRES17_BIN";

/// The oldest major version that Strongroom supports.
pub const OLDEST_MAJOR_VERSION: u32 = 13;

/// The superuser of every server started here; loopback connections need no password.
pub const SUPERUSER: &str = "postgres";

/// The database that [`Postgres::generate_platform_database`] makes.
pub const PLATFORM_DATABASE: &str = "platform";

/// What a folder must hold to count as an installation.
const PROGRAMS: [&str; 5] = ["initdb", "pg_ctl", "postgres", "psql", "pg_dump"];

/// Somebody else may take the port between the moment it is found free and the moment the server binds it.
const PORT_ATTEMPTS: u32 = 10;

/// A running server; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    folder: TempDir,
    data: PathBuf,
    account: Option<Account>,
    port: u16,
}

/// The unprivileged user that the server runs as when the tests run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Starts a server with the default configuration; `None` where PostgreSQL is not installed, which is then
    /// already counted as a skipped test.
    ///
    /// # Errors
    /// When the server is there and does not start, or when it is not there in CI.
    pub fn start() -> Result<Option<Self>> {
        Self::start_with(&[])
    }

    /// As [`Postgres::start`], with lines of `postgresql.conf`: `("wal_level", "replica")`.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Option<Self>> {
        match find_binaries() {
            Ok(binaries) => Self::start_from(&binaries, settings).map(Some),
            Err(error) => unavailable("PostgreSQL", &format!("{error:#}")).map(|()| None),
        }
    }

    /// A server of each version that is tested with; those that are not installed are counted as skipped tests.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_each() -> Result<Vec<Self>> {
        installations()?.iter().map(|binaries| Self::start_from(binaries, &[])).collect()
    }

    /// As [`Postgres::start_with`], of one of the [`installations`].
    ///
    /// # Errors
    /// When the server does not start.
    pub fn start_of(binaries: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_from(binaries, settings)
    }

    /// Runs SQL in the database `postgres` and gives back what it printed: unaligned rows, `|` between columns.
    ///
    /// # Errors
    /// When a statement fails; the rest is then not run.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.psql_in("postgres", sql)
    }

    /// As [`Postgres::psql`], in the given database.
    ///
    /// # Errors
    /// As [`Postgres::psql`].
    pub fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut child = self
            .client("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .args(["--dbname", database, "--file=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        let mut stdin = child.stdin.take().context("psql has no standard input")?;
        let sql = sql.to_owned();
        // From a thread of its own, or long SQL with long answers would fill both pipes and stop both sides.
        let writer = std::thread::spawn(move || stdin.write_all(sql.as_bytes()));
        let output = child.wait_with_output().context("cannot wait for psql")?;
        ensure!(output.status.success(), "psql: {}: {}", output.status, error_text(&output));
        let written = writer.join().map_err(|_| anyhow::anyhow!("the thread that feeds psql panicked"))?;
        written.context("cannot send SQL to psql")?;
        Ok(String::from_utf8(output.stdout).context("psql printed no UTF-8")?.trim_end().to_owned())
    }

    /// A `pg_dump` that connects to this server; the arguments say which database and how.
    #[must_use]
    pub fn pg_dump(&self, arguments: &[&str]) -> Command {
        let mut command = self.client("pg_dump");
        command.args(arguments);
        command
    }

    /// Any client program of this installation (`pg_restore`, `createdb`, `pg_basebackup`), set up to connect to
    /// this server.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command
            .env("PGHOST", self.folder.path())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER);
        command
    }

    /// The URL by which a client reaches the database over TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of the socket it listens on.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The loopback port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote of itself since it was started.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The folder of its programs.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// The data directory (`PGDATA`).
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.data.clone()
    }

    /// A server of the same installation, on the data directory that `restore` makes at the path it is given.
    ///
    /// # Errors
    /// When that server does not start.
    pub fn start_restored(&self, restore: impl FnOnce(&Path)) -> Result<Self> {
        let mut server = Self::prepare(&self.binaries)?;
        restore(&server.data);
        server.listen()?;
        Ok(server)
    }

    /// A folder of the server's user.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        if let Some(account) = self.account {
            std::os::unix::fs::chown(&folder, Some(account.uid), Some(account.gid))
                .with_context(|| format!("cannot give {} to the server's user", folder.display()))?;
        }
        Ok(folder)
    }

    /// Stops it as it stands, and starts it again after `between`.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn restart(&mut self, between: impl FnOnce(&Path)) -> Result<()> {
        self.stop("fast")?;
        between(&self.data);
        self.listen()
    }

    /// Stops it: `fast`, `immediate`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self, mode: &str) -> Result<()> {
        let mut pg_ctl = self.server_program("pg_ctl");
        pg_ctl.args(["stop", "--silent", "--wait", "--mode", mode, "--pgdata"]).arg(&self.data);
        run(&mut pg_ctl).map(|_| ())
    }

    /// Fills [`PLATFORM_DATABASE`] with four tables of a platform (users, jobs, payments, events): a plain
    /// `pg_dump` of it is about so many megabytes long. The same number always gives the same rows.
    ///
    /// # Errors
    /// When the database exists already, or SQL fails.
    pub fn generate_platform_database(&self, megabytes: u32) -> Result<()> {
        self.psql(&format!("CREATE DATABASE {PLATFORM_DATABASE}"))?;
        let sql = include_str!("platform.sql").replace(":megabytes", &megabytes.to_string());
        self.psql_in(PLATFORM_DATABASE, &sql).context("cannot generate the platform database")?;
        Ok(())
    }

    /// Makes a database with everything that `pg_dump` knows how to dump, and the roles that it needs.
    ///
    /// # Errors
    /// When SQL fails.
    pub fn generate_everything(&self, database: &str) -> Result<()> {
        self.psql(&format!("CREATE DATABASE {database}"))?;
        self.psql("CREATE ROLE \"everything reader\"; CREATE ROLE \"everything owner\"")?;
        let sql = include_str!("postgres/everything.sql");
        self.psql_in(database, sql).context("cannot generate everything")?;
        Ok(())
    }

    fn start_from(binaries: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::prepare(binaries)?;
        server.initialize(settings)?;
        server.listen()?;
        Ok(server)
    }

    fn prepare(binaries: &Path) -> Result<Self> {
        let account = unprivileged_account()?;
        let folder =
            tempfile::Builder::new().prefix("strongroom-pg-").tempdir().context("no temporary folder")?;
        if let Some(account) = account {
            std::os::unix::fs::chown(folder.path(), Some(account.uid), Some(account.gid))
                .with_context(|| format!("cannot give {} to the server's user", folder.path().display()))?;
        }
        let data = folder.path().join("data");
        Ok(Self { binaries: binaries.to_owned(), folder, data, account, port: 0 })
    }

    fn initialize(&self, settings: &[(&str, &str)]) -> Result<()> {
        let mut initdb = self.server_program("initdb");
        initdb.args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--data-checksums"]);
        initdb.args(["--username", SUPERUSER]);
        run(initdb.arg("--pgdata").arg(self.data_directory()))?;
        let mut lines = String::from("listen_addresses = '127.0.0.1'\n");
        lines.push_str("fsync = off\nfull_page_writes = off\nmax_wal_size = '4GB'\n");
        for (name, value) in settings {
            lines.push_str(&format!("{name} = {}\n", quoted(value)));
        }
        let path = self.data_directory().join("postgresql.conf");
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(lines.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn listen(&mut self) -> Result<()> {
        let log = self.folder.path().join("log");
        for _ in 0..PORT_ATTEMPTS {
            self.port = free_port()?;
            let mut pg_ctl = self.server_program("pg_ctl");
            pg_ctl
                .args(["start", "--wait", "--silent", "--timeout=120", "--pgdata"])
                .arg(self.data_directory());
            // Not in the configuration, which a restored server has from another.
            let sockets = self.folder.path().display();
            pg_ctl.arg("--log").arg(&log).args(["-o", &format!("-p {} -k {sockets}", self.port)]);
            let Err(error) = run(&mut pg_ctl) else { return Ok(()) };
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if !said.contains("could not bind") {
                return Err(error.context(format!("PostgreSQL does not start; its log:\n{said}")));
            }
            std::fs::remove_file(&log).context("cannot remove the log of a failed start")?;
        }
        bail!("PostgreSQL found no free port in {PORT_ATTEMPTS} attempts")
    }

    fn server_program(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(account) = self.account {
            command.gid(account.gid).uid(account.uid).env("HOME", self.folder.path());
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A server that never started cannot be stopped, and a destructor has nobody to tell.
        let _stopped = self.stop("immediate");
    }
}

/// The folders of all versions that are tested with; those that are not installed are counted as skipped tests.
///
/// # Errors
/// When one is missing in CI.
pub fn installations() -> Result<Vec<PathBuf>> {
    let newer = std::env::var_os(NEWER_BINARIES_VARIABLE).map(PathBuf::from);
    let newer = newer.context(format!("{NEWER_BINARIES_VARIABLE} names no PostgreSQL"));
    let mut found = Vec::new();
    for binaries in [find_binaries(), newer.and_then(|folder| major_version(&folder).map(|_| folder))] {
        match binaries {
            Ok(binaries) => found.push(binaries),
            Err(error) => unavailable("PostgreSQL", &format!("{error:#}"))?,
        }
    }
    Ok(found)
}

/// The folder of the PostgreSQL to test with: what [`BINARIES_VARIABLE`] names, or else the newest that Debian's
/// layout holds, or else the one on `PATH`.
///
/// # Errors
/// When none is complete and at least [`OLDEST_MAJOR_VERSION`].
pub fn find_binaries() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BINARIES_VARIABLE) {
        let folder = PathBuf::from(folder);
        major_version(&folder).with_context(|| format!("{BINARIES_VARIABLE} names no PostgreSQL"))?;
        return Ok(folder);
    }
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = debian
        .map(|entry| entry.path().join("bin"))
        .filter_map(|folder| Some((major_version(&folder).ok()?, folder)))
        .collect();
    found.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let newest = found.pop().map(|(_, folder)| folder);
    newest
        .or_else(|| std::env::split_paths(&on_path).find(|folder| major_version(folder).is_ok()))
        .with_context(|| {
            format!("no PostgreSQL {OLDEST_MAJOR_VERSION} or newer under /usr/lib/postgresql or on PATH")
        })
}

/// The major version of the installation in a folder.
///
/// # Errors
/// When a program is missing, or it is older than [`OLDEST_MAJOR_VERSION`].
pub fn major_version(folder: &Path) -> Result<u32> {
    for program in PROGRAMS {
        ensure!(folder.join(program).is_file(), "{} has no {program}", folder.display());
    }
    let output = run(Command::new(folder.join("postgres")).arg("--version"))?;
    let line = String::from_utf8_lossy(&output.stdout);
    let version = parse_major_version(&line).with_context(|| format!("no version in {line:?}"))?;
    ensure!(version >= OLDEST_MAJOR_VERSION, "PostgreSQL {version} is older than {OLDEST_MAJOR_VERSION}");
    Ok(version)
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15, `postgres (PostgreSQL) 19devel` is 19.
fn parse_major_version(line: &str) -> Option<u32> {
    let version = line.split_whitespace().nth(2)?;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version.get(..end)?.parse().ok()
}

fn unprivileged_account() -> Result<Option<Account>> {
    if uzers::get_effective_uid() != 0 {
        return Ok(None);
    }
    let user = uzers::get_user_by_name("postgres")
        .or_else(|| uzers::get_user_by_name("nobody"))
        .context("running as root, and there is neither a user postgres nor a user nobody for the server")?;
    ensure!(user.uid() != 0, "the user {} is root ({})", user.name().display(), user.home_dir().display());
    Ok(Some(Account { uid: user.uid(), gid: user.primary_group_id() }))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr().context("a listener without an address")?.port())
}

/// A value as `postgresql.conf` quotes it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn run(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name}: {}: {}", output.status, error_text(&output));
    Ok(output)
}

fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major_version("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(parse_major_version("postgres"), None);
        assert_eq!(parse_major_version("postgres (PostgreSQL) devel"), None);
    }

    #[test]
    fn settings_are_quoted() {
        assert_eq!(quoted("it's"), "'it''s'");
    }

    #[test]
    fn an_empty_folder_is_no_installation() {
        let folder = tempfile::tempdir().unwrap();
        assert!(major_version(folder.path()).is_err());
    }
}
