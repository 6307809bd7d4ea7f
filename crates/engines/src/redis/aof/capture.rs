//! `backup redis --aof`.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use strongroom_repository::RepositoryError;
use strongroom_repository::backup::Sink;

use super::manifest::{self, Listed};
use super::scan::{Scanned, scan};
use super::{AOF_ENGINE, AofFacts, FileFacts};
use crate::engine::{Engine, EngineError, read_stream};
use crate::redis::connection::Connection;
use crate::redis::error::RedisError;
use crate::redis::info::Info;
use crate::redis::rdb::RdbError;
use crate::redis::resp::Value;
use crate::redis::target::Target;

/// A server that makes a new list more often than that in a moment is not well.
const ATTEMPTS: u32 = 20;
/// As servers have it, unless they are told otherwise.
const FOLDER: &str = "appendonlydir";
const NAME: &str = "appendonly.aof";

/// Reads the append-only files of a server, on its own host.
#[derive(Debug, Clone)]
pub struct AofFiles {
    /// Which.
    pub target: Target,
    /// The folder of the server's files; none is the one that it names.
    pub folder: Option<PathBuf>,
}

/// What the server says of them.
struct Settings {
    folder: PathBuf,
    aof_folder: String,
    name: String,
}

/// A file that is open.
struct Opened {
    path: PathBuf,
    /// In the snapshot.
    entry: String,
    name: String,
    file: File,
    bytes: u64,
}

impl Engine for AofFiles {
    fn name(&self) -> &'static str {
        AOF_ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        match self.back_up(sink) {
            Err(_) if sink.monitor().is_cancelled() => Err(RepositoryError::Interrupted.into()),
            done => done,
        }
    }
}

impl AofFiles {
    fn back_up(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let mut connection = Connection::open(&self.target, sink.monitor())?;
        let info = Info::of(&mut connection)?;
        info.require_whole()?;
        if info.field("aof_enabled") != "1" {
            let why = "it writes no append-only file (appendonly no)".into();
            return Err(RedisError::NotReady { server: connection.server, why }.into());
        }
        let settings = self.settings(&mut connection)?;
        drop(connection);
        let (folder, list, opened) = open_all(&settings)?;
        let mut files = Vec::new();
        let last = opened.len().saturating_sub(1);
        for (number, one) in opened.into_iter().enumerate() {
            files.push(store(sink, one, number == last)?);
        }
        if let (Some(folder), Some(list)) = (&folder, list) {
            let text: String = list.iter().map(|file| format!("{}\n", file.line)).collect();
            let path = format!("{folder}/{}.manifest", settings.name);
            read_stream(sink, &path, &mut text.as_bytes(), |_| Ok(()))?;
        }
        let facts = AofFacts {
            engine: AOF_ENGINE.into(),
            server: info.name().into(),
            server_version: info.version().into(),
            folder,
            name: settings.name,
            files,
        };
        let json = serde_json::to_vec(&facts);
        sink.facts(json.map_err(|error| RedisError::Disagreement { database: 0, what: error.to_string() })?);
        Ok(())
    }

    /// Who may not ask for them has to say where they are.
    fn settings(&self, connection: &mut Connection<'_>) -> Result<Settings, RedisError> {
        let mut setting = |name: &str| match connection.ask(&[b"CONFIG", b"GET", name.as_bytes()]) {
            Ok(Value::List(found)) => Ok(found.get(1).map(Value::text).filter(|text| !text.is_empty())),
            Ok(_) => Ok(None),
            Err(RedisError::Refused { .. }) if self.folder.is_some() => Ok(None),
            Err(error) => Err(error),
        };
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => setting("dir")?.unwrap_or_default().into(),
        };
        let aof_folder = setting("appenddirname")?.unwrap_or_else(|| FOLDER.into());
        Ok(Settings { folder, aof_folder, name: setting("appendfilename")?.unwrap_or_else(|| NAME.into()) })
    }
}

type Found = (Option<String>, Option<Vec<Listed>>, Vec<Opened>);

/// All of them, as one list has them.
fn open_all(settings: &Settings) -> Result<Found, RedisError> {
    let folder = settings.folder.join(&settings.aof_folder);
    let list = folder.join(format!("{}.manifest", settings.name));
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| RedisError::ReadFile { path, source }
    };
    for _ in 0..ATTEMPTS {
        let before = match std::fs::read_to_string(&list) {
            // Before 7.0 there was one file.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let path = settings.folder.join(&settings.name);
                let one =
                    open(&path, settings.name.clone(), settings.name.clone()).map_err(unreadable(&path))?;
                return Ok((None, None, vec![one]));
            }
            text => text.map_err(unreadable(&list))?,
        };
        let files = manifest::parse(&before).ok_or_else(|| RedisError::AppendOnly {
            path: list.clone(),
            why: "it lists no files as servers do".into(),
        })?;
        let mut opened = Vec::new();
        let mut is_gone = false;
        for file in &files {
            let path = folder.join(&file.name);
            let entry = format!("{}/{}", settings.aof_folder, file.name);
            match open(&path, entry, file.name.clone()) {
                Err(error) if error.kind() == ErrorKind::NotFound => is_gone = true,
                one => opened.push(one.map_err(unreadable(&path))?),
            }
        }
        // A rewrite may have made another list meanwhile.
        let after = std::fs::read_to_string(&list).map_err(unreadable(&list))?;
        if !is_gone && before == after {
            return Ok((Some(settings.aof_folder.clone()), Some(files), opened));
        }
        if is_gone && before == after {
            let why = "a file that it lists is not there".into();
            return Err(RedisError::AppendOnly { path: list, why });
        }
    }
    Err(RedisError::AppendOnly {
        path: list,
        why: format!("the server changed it {ATTEMPTS} times meanwhile"),
    })
}

fn open(path: &Path, entry: String, name: String) -> std::io::Result<Opened> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Opened { path: path.to_owned(), entry, name, file, bytes })
}

/// Up to its last whole command; only the last file may end in the middle of one.
fn store(sink: &Sink<'_, '_>, opened: Opened, is_last: bool) -> Result<FileFacts, EngineError> {
    let Opened { path, entry, name, mut file, bytes } = opened;
    let wrong = |why: String| RedisError::AppendOnly { path: path.clone(), why };
    let Scanned { bytes: whole, keys, commands } =
        scan((&mut file).take(bytes)).map_err(|error| match error {
            RdbError::Read(source) => RedisError::ReadFile { path: path.clone(), source },
            error => wrong(error.to_string()),
        })?;
    if whole != bytes && !is_last {
        return Err(
            wrong(format!("it ends in the middle of a command, after {whole} of {bytes} bytes")).into()
        );
    }
    let unreadable = |source| RedisError::ReadFile { path: path.clone(), source };
    std::io::Seek::rewind(&mut file).map_err(unreadable)?;
    let mut stored = 0;
    read_stream(sink, &entry, &mut file.take(whole), |read| {
        stored = read;
        Ok(())
    })?;
    if stored != whole {
        return Err(wrong(format!("it became shorter meanwhile: {stored} of {whole} bytes")).into());
    }
    Ok(FileFacts { name, bytes: whole, keys, commands })
}
