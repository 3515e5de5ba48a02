//! The only file that touches processes: FFmpeg started in a group of its own, its pipes, its end.
//!
//! FFmpeg does not outlive the server. A [`Handle`] that is dropped kills the group; when the server itself is killed
//! (`kill -9`), FFmpeg reads the end of its input and writes into pipes without a reader, and ends of either.
//! PR_SET_PDEATHSIG is not used: it fires when the *thread* that spawned ends, and runtime threads come and go.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use command_fds::{CommandFdExt, FdMapping};
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};

use super::command::{Descriptors, command, slate_command};
use super::progress::{Progress, ProgressParser};
use super::slate::Slate;
use crate::ladder::Plan;

/// The most a process may ask for without privileges (`/proc/sys/fs/pipe-max-size`): 1.4 s of 6 Mbit/s.
const PIPE_BYTES: usize = 1 << 20;
/// What all pipes of one user may hold is limited too: then less will do.
const PIPE_BYTES_FALLBACK: usize = 256 << 10;
/// Lines of FFmpeg's complaints that are kept, and the length to which each is cut.
const TAIL_LINES: usize = 20;
const TAIL_LINE_BYTES: usize = 400;
/// Reports nobody fetched; more are dropped, because the next says the same.
const PROGRESS_QUEUE: usize = 4;

/// Starts FFmpeg.
#[derive(Debug)]
pub struct Transcoder;

/// A running FFmpeg. The pipes must all be read all the time: one left unread stalls the others.
#[derive(Debug)]
pub struct Running {
    /// FLV goes in here; dropping it ends the session cleanly.
    pub stdin: ChildStdin,
    /// A pipe for each rendition, by its name, in the plan's order.
    pub outputs: Vec<(String, pipe::Receiver)>,
    /// A report each half second; reports are dropped when nobody takes them.
    pub progress: mpsc::Receiver<Progress>,
    /// Signals and the end.
    pub handle: Handle,
}

/// Why FFmpeg could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Not there.
    #[error("FFmpeg was not found ({path}): install it (`apt install ffmpeg`), or set FFMPEG_PATH to it")]
    Absent {
        /// What was looked for.
        path: PathBuf,
    },
    /// Pipes or processes ran out, or it is not executable.
    #[error("FFmpeg ({path}) could not be started: {source}")]
    System {
        /// What was to be run.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How FFmpeg ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It read its input to the end, flushed and said so: what came out of the pipes is whole.
    pub clean: bool,
    /// The last lines it printed, oldest first, cut to a bounded length.
    pub last_lines: Vec<String>,
}

/// Holds a running FFmpeg; dropped, the whole group is killed.
#[derive(Debug)]
pub struct Handle {
    group: Pid,
    exit: watch::Receiver<Option<Exit>>,
    tail: Arc<Mutex<Tail>>,
}

impl Transcoder {
    /// Starts FFmpeg for a plan. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`SpawnError`] when there is no FFmpeg or the system has no more pipes or processes.
    pub fn spawn(ffmpeg: &Path, plan: &Plan) -> Result<Running, SpawnError> {
        let descriptors = Descriptors::of(plan);
        let names = plan.renditions.iter().map(|rendition| rendition.name.clone()).collect();
        Self::spawn_arguments(ffmpeg, command(plan, descriptors), descriptors, names)
    }

    /// Starts FFmpeg for a plan whose input is a slate: nothing but its end goes in. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`Transcoder::spawn`].
    pub fn spawn_slate(ffmpeg: &Path, plan: &Plan, slate: &Slate) -> Result<Running, SpawnError> {
        let descriptors = Descriptors::of(plan);
        let names = plan.renditions.iter().map(|rendition| rendition.name.clone()).collect();
        Self::spawn_arguments(ffmpeg, slate_command(plan, slate, descriptors), descriptors, names)
    }

    /// Starts FFmpeg with arguments that use these descriptors; one output a name.
    ///
    /// # Errors
    /// As [`Transcoder::spawn`].
    pub fn spawn_arguments(
        ffmpeg: &Path,
        arguments: Vec<OsString>,
        descriptors: Descriptors,
        names: Vec<String>,
    ) -> Result<Running, SpawnError> {
        let system = |source| SpawnError::System { path: ffmpeg.to_owned(), source };
        let mut mappings = Vec::new();
        let mut outputs = Vec::new();
        for (child_fd, name) in (descriptors.first_output..).zip(names) {
            let (receiver, parent_fd) = output_pipe(PIPE_BYTES).map_err(system)?;
            mappings.push(FdMapping { parent_fd, child_fd });
            outputs.push((name, receiver));
        }
        let (progress, parent_fd) = output_pipe(0).map_err(system)?;
        mappings.push(FdMapping { parent_fd, child_fd: descriptors.progress });

        let mut child = spawn_group(ffmpeg, arguments, mappings).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SpawnError::Absent { path: ffmpeg.to_owned() },
            _ => system(source),
        })?;
        let missing = || system(io::Error::other("a pipe of the child is missing"));
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(missing)?;
        let stdin = child.stdin().take().ok_or_else(missing)?;
        let stderr = child.stderr().take().ok_or_else(missing)?;
        grow(stdin.as_fd(), PIPE_BYTES);

        let tail = Arc::new(Mutex::new(Tail::default()));
        let (progress_tx, progress_rx) = mpsc::channel(PROGRESS_QUEUE);
        let (exit_tx, exit) = watch::channel(None);
        tokio::spawn(read_progress(progress, progress_tx));
        let drained = tokio::spawn(read_tail(stderr, tail.clone()));
        let kept = tail.clone();
        tokio::spawn(async move {
            let status = child.wait().await;
            // What it printed last is what explains its end; the pipe ends with the process.
            let _ = drained.await;
            exit_tx.send_replace(Some(Exit::from_status(
                status,
                kept.lock().unwrap_or_else(PoisonError::into_inner).lines(),
            )));
        });
        Ok(Running { stdin, outputs, progress: progress_rx, handle: Handle { group, exit, tail } })
    }
}

fn spawn_group(ffmpeg: &Path, arguments: Vec<OsString>, mappings: Vec<FdMapping>) -> io::Result<Box<dyn ChildWrapper>> {
    let mut collision = Ok(());
    let mut wrap = CommandWrap::with_new(ffmpeg, |command| {
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Colours would end up in error texts; a report file in somebody's working directory.
        command.env("AV_LOG_FORCE_NOCOLOR", "1").env_remove("FFREPORT");
        collision = command.fd_mappings(mappings).map(|_| ()).map_err(io::Error::other);
    });
    collision?;
    // The wrap owns our copies of the write ends: it is dropped here, or the pipes would never end.
    wrap.wrap(KillOnDrop).wrap(ProcessGroup::leader()).spawn()
}

/// Our end, non-blocking, and the child's.
fn output_pipe(bytes: usize) -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    if bytes > 0 {
        grow(ours.as_fd(), bytes);
    }
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}

/// A larger pipe lets FFmpeg run on while we are busy; refused (EPERM), the default works too.
fn grow(fd: std::os::fd::BorrowedFd<'_>, bytes: usize) {
    if fcntl_setpipe_size(fd, bytes).is_err() {
        let _ = fcntl_setpipe_size(fd, PIPE_BYTES_FALLBACK);
    }
}

impl Handle {
    /// Asks FFmpeg to finish: it flushes what it has and exits.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the whole group at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// The process group, which is also FFmpeg's process id.
    pub fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Waits for the end; may be called again and again.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(Exit::unknown),
            Err(_) => Exit::unknown(),
        }
    }

    /// What FFmpeg has complained about so far, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }

    fn signal(&self, signal: Signal) {
        // After the end the number may belong to somebody else.
        if self.exit.borrow().is_none() {
            let _ = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Exit {
    fn from_status(status: io::Result<ExitStatus>, last_lines: Vec<String>) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match status {
            Ok(status) => Self { code: status.code(), signal: status.signal(), clean: status.success(), last_lines },
            Err(_) => Self { last_lines, ..Self::unknown() },
        }
    }

    fn unknown() -> Self {
        Self { code: None, signal: None, clean: false, last_lines: Vec::new() }
    }
}

/// The last lines of a child that may print without end.
#[derive(Debug, Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(&line[..line.len().min(TAIL_LINE_BYTES)]);
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(text.to_owned());
    }

    fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

async fn read_tail(stderr: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>) {
    read_lines(stderr, |line| tail.lock().unwrap_or_else(PoisonError::into_inner).push(line)).await;
}

async fn read_progress(pipe: pipe::Receiver, reports: mpsc::Sender<Progress>) {
    let mut parser = ProgressParser::default();
    read_lines(pipe, |line| {
        if let Some(report) = std::str::from_utf8(line).ok().and_then(|line| parser.handle_line(line)) {
            let _ = reports.try_send(report);
        }
    })
    .await;
}

/// Lines to their end, however long: what exceeds the bound comes as further lines, so that memory is bounded.
async fn read_lines(pipe: impl AsyncRead + Unpin, mut each: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(4096).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => each(&line),
        }
    }
}
