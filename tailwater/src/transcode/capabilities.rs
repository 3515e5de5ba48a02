//! What the FFmpeg at hand can do, found out once at start.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// How often a listing is asked for in all.
const LIST_ATTEMPTS: u32 = 3;
/// A listing takes milliseconds; a cold disk seconds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// One second of picture through a hardware encoder, driver start included.
const TEST_ENCODE_TIMEOUT: Duration = Duration::from_secs(5);

/// FFmpeg's version, as far as it is a number; builds from git have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As printed.
    pub text: String,
    /// Major and minor number; `None` for a build from git, which is taken to be new.
    pub number: Option<(u32, u32)>,
}

impl Version {
    /// From the first line of `ffmpeg -version`.
    pub fn parse(first_line: &str) -> Option<Self> {
        let text = first_line.strip_prefix("ffmpeg version ")?.split_whitespace().next()?.to_owned();
        let digits = text.trim_start_matches('n');
        let mut parts = digits.split(|c: char| !c.is_ascii_digit());
        let major = parts.next().and_then(|part| part.parse().ok()).filter(|_| digits.contains('.'));
        let minor = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Some(Self { text, number: major.map(|major| (major, minor)) })
    }

    /// At least that version; a build from git is.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.number.is_none_or(|number| number >= (major, minor))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A kind of hardware encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hardware {
    /// NVIDIA.
    Nvenc,
    /// Intel Quick Sync.
    Qsv,
    /// VideoToolbox (macOS).
    Videotoolbox,
    /// VA-API.
    Vaapi,
}

impl Hardware {
    /// In the order of preference.
    pub const ALL: [Self; 4] = [Self::Nvenc, Self::Qsv, Self::Videotoolbox, Self::Vaapi];

    /// FFmpeg's name of its H.264 encoder.
    pub fn encoder(self) -> &'static str {
        match self {
            Self::Nvenc => "h264_nvenc",
            Self::Qsv => "h264_qsv",
            Self::Videotoolbox => "h264_videotoolbox",
            Self::Vaapi => "h264_vaapi",
        }
    }

    /// Its name in the configuration.
    pub fn choice(self) -> &'static str {
        match self {
            Self::Nvenc => "nvenc",
            Self::Qsv => "qsv",
            Self::Videotoolbox => "videotoolbox",
            Self::Vaapi => "vaapi",
        }
    }

    /// The preset it is run with where it has presets.
    pub fn preset(self) -> &'static str {
        match self {
            Self::Nvenc => "p4",
            Self::Qsv => "veryfast",
            Self::Videotoolbox | Self::Vaapi => "",
        }
    }
}

/// What FFmpeg and the machine can do. A cached value: cheap to clone, compared in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Which FFmpeg.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
    /// Names of its encoders.
    pub encoders: BTreeSet<String>,
    /// Names of its filters.
    pub filters: BTreeSet<String>,
    /// Reads HEVC and AV1 from FLV (enhanced RTMP): since 6.1.
    pub flv_fourcc: bool,
    /// Hardware encoders that passed a real test encode, best first.
    pub hardware: Vec<Hardware>,
    /// Hardware encoders FFmpeg was built with that did not, and the last line it printed.
    pub hardware_failures: Vec<(Hardware, String)>,
    /// Processor cores this process may use.
    pub cores: usize,
}

impl Capabilities {
    /// Whether FFmpeg was built with that encoder.
    pub fn has_encoder(&self, name: &str) -> bool {
        self.encoders.contains(name)
    }

    /// What Debian 12's FFmpeg 5.1 can do, on that many cores: for tests and predictions.
    pub fn typical(cores: usize) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            path: PathBuf::from("ffmpeg"),
            version: Version { text: "5.1.9".to_owned(), number: Some((5, 1)) },
            encoders: names(&["libx264", "aac", "libx265", "libsvtav1", "libaom-av1"]),
            filters: names(&REQUIRED_FILTERS),
            flv_fourcc: false,
            hardware: Vec::new(),
            hardware_failures: Vec::new(),
            cores,
        }
    }
}

/// What every plan is made of.
const REQUIRED_ENCODERS: [&str; 2] = ["libx264", "aac"];
const REQUIRED_FILTERS: [&str; 6] = ["scale", "split", "fps", "framestep", "format", "aresample"];
/// `-fps_mode` came with it.
const OLDEST: (u32, u32) = (5, 1);

/// Why this FFmpeg will not do; each is a sentence for the user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Not there.
    #[error("FFmpeg was not found ({path}): install it (`apt install ffmpeg`), or set FFMPEG_PATH to it")]
    Absent {
        /// What was looked for.
        path: PathBuf,
    },
    /// There, and cannot be run.
    #[error("{path} cannot be run: {source}: check that it is FFmpeg and executable")]
    NotExecutable {
        /// What was run.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Ran, and did not answer like FFmpeg.
    #[error("{path} does not answer like FFmpeg ({answer}): set FFMPEG_PATH to one")]
    NotFfmpeg {
        /// What was run.
        path: PathBuf,
        /// Its first line, or what went wrong.
        answer: String,
    },
    /// Older than what the command lines need.
    #[error("{path} is FFmpeg {version}: 5.1 or newer is needed")]
    TooOld {
        /// What was run.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Built without something every ladder needs.
    #[error(
        "{path} was built without {missing}: install an FFmpeg that has it (`apt install ffmpeg`), or set FFMPEG_PATH"
    )]
    Without {
        /// What was run.
        path: PathBuf,
        /// Encoder or filter.
        missing: String,
    },
}

/// Finds out what that FFmpeg can do. Hardware encoders are believed only after a real encode of one second.
///
/// # Errors
/// A sentence why it will not do at all.
pub async fn probe(ffmpeg: &Path) -> Result<Capabilities, ProbeError> {
    let version = probe_version(ffmpeg).await?;
    let encoders = names(&list(ffmpeg, "-encoders").await?);
    let filters = names(&list(ffmpeg, "-filters").await?);
    let missing = |name: &str| ProbeError::Without { path: ffmpeg.to_owned(), missing: name.to_owned() };
    if let Some(name) = REQUIRED_ENCODERS.iter().find(|name| !encoders.contains(**name)) {
        return Err(missing(name));
    }
    if let Some(name) = REQUIRED_FILTERS.iter().find(|name| !filters.contains(**name)) {
        return Err(missing(&format!("the {name} filter")));
    }
    let (mut hardware, mut hardware_failures) = (Vec::new(), Vec::new());
    for candidate in Hardware::ALL.into_iter().filter(|candidate| encoders.contains(candidate.encoder())) {
        match test_encode(ffmpeg, candidate).await {
            Ok(()) => hardware.push(candidate),
            Err(reason) => hardware_failures.push((candidate, reason)),
        }
    }
    Ok(Capabilities {
        path: ffmpeg.to_owned(),
        flv_fourcc: version.at_least(6, 1),
        version,
        encoders,
        filters,
        hardware,
        hardware_failures,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    })
}

async fn probe_version(ffmpeg: &Path) -> Result<Version, ProbeError> {
    let text = list(ffmpeg, "-version").await?;
    let first_line = text.lines().next().unwrap_or_default();
    let Some(version) = Version::parse(first_line) else {
        let answer = if first_line.is_empty() { "no answer" } else { first_line };
        let answer = answer.chars().take(80).collect();
        return Err(ProbeError::NotFfmpeg { path: ffmpeg.to_owned(), answer });
    };
    if !version.at_least(OLDEST.0, OLDEST.1) {
        return Err(ProbeError::TooOld { path: ffmpeg.to_owned(), version: version.text });
    }
    Ok(version)
}

/// What it answers. One that is killed while it answers (the system is short of memory, somebody ends all of its name) says nothing
/// of what it can do, and is asked again.
async fn list(ffmpeg: &Path, what: &str) -> Result<String, ProbeError> {
    let mut attempt = 1;
    loop {
        let output = ask(ffmpeg, what).await?;
        if output.status.signal().is_none() || attempt == LIST_ATTEMPTS {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        attempt += 1;
    }
}

async fn ask(ffmpeg: &Path, what: &str) -> Result<Output, ProbeError> {
    let run = Command::new(ffmpeg)
        .args(["-hide_banner", what].iter().skip(usize::from(what == "-version")))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let path = ffmpeg.to_owned();
    match tokio::time::timeout(LIST_TIMEOUT, run).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(ProbeError::Absent { path }),
        Ok(Err(source)) => Err(ProbeError::NotExecutable { path, source }),
        Err(_) => Err(ProbeError::NotFfmpeg { path, answer: format!("no answer to {what} in 10 s") }),
    }
}

/// The second column of FFmpeg's tables: ` V....D libx264  libx264 H.264 ...`.
fn names(table: &str) -> BTreeSet<String> {
    table
        .lines()
        .filter(|line| line.starts_with(' ') && !line.contains(" = "))
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect()
}

/// One second of picture, because encoders are listed whether the hardware is there or not.
async fn test_encode(ffmpeg: &Path, hardware: Hardware) -> Result<(), String> {
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]);
    if hardware == Hardware::Vaapi {
        command.args(["-vaapi_device", "/dev/dri/renderD128"]);
    }
    command.args(["-f", "lavfi", "-i", "color=black:s=640x360:r=30"]);
    if hardware == Hardware::Vaapi {
        command.args(["-vf", "format=nv12,hwupload"]);
    }
    command.args(["-t", "1", "-c:v", hardware.encoder(), "-b:v", "1M", "-f", "null", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(TEST_ENCODE_TIMEOUT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
            Err(last.trim().chars().take(200).collect())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it did not finish one second of picture in 5 s".to_owned()),
    }
}

/// One line of a `doctor`'s report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, and what to do where something is wrong.
    pub detail: String,
}

/// How a check turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, with less than there could be.
    Note,
    /// Will not work.
    Bad,
}

/// What there is to say about FFmpeg, for people.
pub fn report(probed: &Result<Capabilities, ProbeError>) -> Vec<Check> {
    let check = |what: &str, verdict, detail: String| Check { what: what.to_owned(), verdict, detail };
    let caps = match probed {
        Ok(caps) => caps,
        Err(error) => return vec![check("FFmpeg", Verdict::Bad, error.to_string())],
    };
    let mut checks = vec![
        check("FFmpeg", Verdict::Good, format!("{} ({})", caps.version, caps.path.display())),
        check("H.264 and AAC", Verdict::Good, "libx264 and aac are there".to_owned()),
    ];
    let fourcc = match caps.flv_fourcc {
        true => (Verdict::Good, "HEVC and AV1 sources over RTMP can be read".to_owned()),
        false => (Verdict::Note, "HEVC and AV1 sources over RTMP need FFmpeg 6.1; H.264 sources work".to_owned()),
    };
    checks.push(check("enhanced RTMP", fourcc.0, fourcc.1));
    for (codec, encoders) in [("HEVC rungs", &["libx265"][..]), ("AV1 rungs", &["libsvtav1", "libaom-av1"][..])] {
        let found = encoders.iter().find(|name| caps.has_encoder(name));
        checks.push(match found {
            Some(name) => check(codec, Verdict::Good, format!("{name} is there")),
            None => check(codec, Verdict::Note, format!("need an FFmpeg with {}", encoders.join(" or "))),
        });
    }
    for hardware in &caps.hardware {
        checks.push(check("hardware encoder", Verdict::Good, format!("{} passed a test encode", hardware.choice())));
    }
    for (hardware, reason) in &caps.hardware_failures {
        checks.push(check("hardware encoder", Verdict::Note, format!("{} does not work: {reason}", hardware.choice())));
    }
    checks
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn one_that_is_killed_while_it_answers_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let (script, marker) = (folder.path().join("ffmpeg"), folder.path().join("asked"));
        let text = "#!/bin/sh\nif [ ! -e MARKER ]; then touch MARKER; kill -9 $$; fi\necho 'ffmpeg version 5.1.9'\n";
        std::fs::write(&script, text.replace("MARKER", &marker.display().to_string())).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(probe_version(&script).await.unwrap().at_least(5, 1));
        assert!(marker.exists(), "the first answer was cut short");
    }
}
