//! The requests of the livestreams that are live, in a file of this machine: what is taken up again after a restart.
//!
//! It holds stream keys: only its owner may read it, and it is never in a media store. It is written whole beside itself
//! and renamed, so that a crash leaves the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::StreamName;
use super::types::{CreateRequest, SourceRequest};
use crate::config::{HumanDuration, Secret};
use crate::control::source_url::SourceUrl;
use crate::ladder::LadderConfig;

/// What this version reads and writes.
const VERSION: u32 = 1;
/// Readable and writable by its owner only.
const MODE: u32 = 0o600;

/// A livestream to be taken up again.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// What was asked for.
    pub request: CreateRequest,
    /// The key that encoders publish to, for [`SourceRequest::Push`].
    pub stream_key: Option<Secret>,
    /// When it was asked for.
    pub created_at: SystemTime,
}

/// Why there is no state file.
#[derive(Debug, thiserror::Error)]
#[error("`state_file` {path} cannot be written ({source}): give it a folder that this user may write to, or leave out resume", path = path.display())]
pub struct StateFileError {
    path: PathBuf,
    source: io::Error,
}

/// The file.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    livestreams: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    name: String,
    title: String,
    source: SourceRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<SourceRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream_key: Option<String>,
    ladder: LadderConfig,
    window: HumanDuration,
    ttl: HumanDuration,
    force: bool,
    /// Unix time.
    created_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "url")]
enum SourceRecord {
    Pull(String),
    Own(String),
    Push,
}

impl StateFile {
    /// Reads what an earlier process left, and makes sure that it can be written. What cannot be made sense of is told
    /// and kept under another name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> Result<(Self, Vec<Saved>), StateFileError> {
        let file = Self { path: path.to_owned() };
        let (saved, damage) = match fs::read(path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(format!("cannot be read: {error}"))),
        };
        if let Some(damage) = damage {
            let aside = file.keep_aside()?;
            tracing::error!(
                "the state file {} {damage}. It is kept as {}; livestreams that are only there are not taken up again: POST them",
                path.display(),
                aside.display()
            );
        }
        file.write(&saved)?;
        Ok((file, saved))
    }

    /// Makes sure that a file could be written there, and leaves none.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(path: &Path) -> Result<(), StateFileError> {
        let file = Self { path: path.to_owned() };
        let written = file.create_new().map(drop);
        let _ = fs::remove_file(file.unfinished());
        written.map_err(|source| file.error(source))
    }

    /// Replaces what is in the file.
    ///
    /// # Errors
    /// When it cannot be written; then the old content is still there.
    pub fn write(&self, saved: &[Saved]) -> Result<(), StateFileError> {
        self.replace(saved).map_err(|source| self.error(source))
    }

    fn replace(&self, saved: &[Saved]) -> io::Result<()> {
        let livestreams =
            saved.iter().map(|saved| serde_json::to_value(Record::from(saved))).collect::<Result<_, _>>()?;
        let text = serde_json::to_vec_pretty(&Document { version: VERSION, livestreams })?;
        let mut file = self.create_new()?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(self.unfinished(), &self.path)?;
        // The rename itself; a folder that cannot be synced does not make it undone.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// A new file beside it, whatever an earlier process left there.
    fn create_new(&self) -> io::Result<File> {
        let path = self.unfinished();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
    }

    fn unfinished(&self) -> PathBuf {
        self.beside("new")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        PathBuf::from(name)
    }

    fn keep_aside(&self) -> Result<PathBuf, StateFileError> {
        let aside = self.beside(&format!("kept-{}", unix(SystemTime::now()).as_secs()));
        fs::rename(&self.path, &aside).map_err(|source| self.error(source))?;
        Ok(aside)
    }

    fn error(&self, source: io::Error) -> StateFileError {
        StateFileError { path: self.path.clone(), source }
    }
}

/// What can be made sense of, and what is wrong with the rest.
fn parse(bytes: &[u8]) -> (Vec<Saved>, Option<String>) {
    let document: Value = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => return (Vec::new(), Some(format!("is damaged ({error})"))),
    };
    match document["version"].as_u64() {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            let damage = format!("is of version {version}, and this tailwater reads version {VERSION}");
            return (Vec::new(), Some(damage));
        }
        None => return (Vec::new(), Some("is damaged (it has no version)".to_owned())),
    }
    let Ok(Document { livestreams, .. }) = serde_json::from_value(document) else {
        return (Vec::new(), Some("is damaged (it has no livestreams)".to_owned()));
    };
    let mut damage = None;
    let mut saved = Vec::new();
    for (index, livestream) in livestreams.into_iter().enumerate() {
        match serde_json::from_value::<Record>(livestream).map_err(|error| error.to_string()).and_then(Saved::try_from)
        {
            Ok(livestream) => saved.push(livestream),
            Err(error) => damage = Some(format!("is damaged (its livestream {}: {error})", index + 1)),
        }
    }
    (saved, damage)
}

impl From<&Saved> for Record {
    fn from(saved: &Saved) -> Self {
        let request = &saved.request;
        Self {
            name: request.name.to_string(),
            title: request.title.clone(),
            source: (&request.source).into(),
            backup: request.backup.as_ref().map(SourceRecord::from),
            stream_key: saved.stream_key.as_ref().map(|key| key.expose().to_owned()),
            ladder: request.ladder.clone(),
            window: HumanDuration(request.window),
            ttl: HumanDuration(request.ttl),
            force: request.force,
            created_at_ms: u64::try_from(unix(saved.created_at).as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<Record> for Saved {
    type Error = String;

    fn try_from(record: Record) -> Result<Self, String> {
        let request = CreateRequest {
            name: StreamName::parse(&record.name).ok_or("its name is none")?,
            title: record.title,
            source: record.source.try_into()?,
            backup: record.backup.map(SourceRequest::try_from).transpose()?,
            ladder: record.ladder,
            window: record.window.0,
            ttl: record.ttl.0,
            force: record.force,
        };
        let created_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(record.created_at_ms));
        Ok(Self {
            request,
            stream_key: record.stream_key.map(Secret::from),
            created_at: created_at.ok_or("its date is none")?,
        })
    }
}

impl From<&SourceRequest> for SourceRecord {
    fn from(source: &SourceRequest) -> Self {
        match source {
            SourceRequest::Pull(url) => Self::Pull(url.expose().to_owned()),
            SourceRequest::Own(url) => Self::Own(url.expose().to_owned()),
            SourceRequest::Push => Self::Push,
        }
    }
}

impl TryFrom<SourceRecord> for SourceRequest {
    type Error = String;

    fn try_from(record: SourceRecord) -> Result<Self, String> {
        let parse = |url: String| SourceUrl::parse(&url).map_err(|error| error.to_string());
        Ok(match record {
            SourceRecord::Pull(url) => Self::Pull(parse(url)?),
            SourceRecord::Own(url) => Self::Own(parse(url)?),
            SourceRecord::Push => Self::Push,
        })
    }
}

fn unix(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ladder::{Format, Rung};

    fn url(text: &str) -> SourceUrl {
        SourceUrl::parse(text).unwrap()
    }

    fn saved(name: &str, source: SourceRequest) -> Saved {
        let rung = Rung { max_frame_rate: Some(29.97), preset: Some("fast".into()), ..Rung::new("a", 240, 300_000) };
        let ladder = LadderConfig { rungs: vec![rung], format: Format::Cmaf, ..LadderConfig::default() };
        Saved {
            request: CreateRequest {
                name: StreamName::parse(name).unwrap(),
                title: "Ein \"Titel\"".into(),
                source,
                backup: Some(SourceRequest::Own(url("rtmp://localhost/live/backup-secret?token=1"))),
                ladder,
                window: Duration::from_millis(20_500),
                ttl: Duration::from_secs(120),
                force: true,
            },
            stream_key: Some(Secret::from("key-secret".to_owned())),
            created_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        }
    }

    fn kept(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".kept-")).collect()
    }

    #[test]
    fn what_is_written_is_read_again_to_the_last_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let all = [
            saved("a", SourceRequest::Pull(url("rtmps://example.org/app/inst/secret?x=y"))),
            saved("b", SourceRequest::Own(url("rtmp://127.0.0.1:1936/live/secret"))),
            saved("c", SourceRequest::Push),
        ];
        let (file, nothing) = StateFile::open(&path).unwrap();
        assert_eq!(nothing, []);
        file.write(&all).unwrap();
        let (file, read) = StateFile::open(&path).unwrap();
        assert_eq!(read, all);
        assert_eq!(read[2].stream_key.as_ref().unwrap().expose(), "key-secret");
        file.write(&all[..1]).unwrap();
        assert_eq!(StateFile::open(&path).unwrap().1, all[..1]);
        assert!(kept(folder.path()).is_empty());
    }

    #[test]
    fn only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(folder.path().join("state.json.new"), "left by a crash").unwrap();
        fs::write(&path, "{\"version\": 1, \"livestreams\": []}").unwrap();
        StateFile::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_kept_under_another_name() {
        for text in ["", "{", "[]", "{\"version\": 2, \"livestreams\": []}", "{\"version\": 1}"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.json");
            fs::write(&path, text).unwrap();
            assert_eq!(StateFile::open(&path).unwrap().1, [], "{text}");
            let [name] = &kept(folder.path())[..] else { panic!("{text} is not kept") };
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), text);
        }
    }

    #[test]
    fn one_damaged_livestream_does_not_take_the_others_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let all = [saved("a", SourceRequest::Push), saved("b", SourceRequest::Push)];
        StateFile::open(&path).unwrap().0.write(&all).unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("\"name\": \"b\"", "\"name\": \"B b\"");
        fs::write(&path, text).unwrap();
        assert_eq!(StateFile::open(&path).unwrap().1, all[..1]);
        assert_eq!(kept(folder.path()).len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_with_its_name() {
        let error = StateFile::open(Path::new("/proc/nowhere/state.json")).unwrap_err().to_string();
        assert!(error.contains("/proc/nowhere/state.json") && error.contains("leave out resume"), "{error}");
        assert!(StateFile::check(Path::new("/proc/nowhere/state.json")).is_err());
        let folder = tempfile::tempdir().unwrap();
        StateFile::check(&folder.path().join("state.json")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
