//! The livestreams of this process, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::name::StreamName;
use super::shared::{Environment, Shared};
use super::state_file::{Saved, StateFile};
use super::task::{Beginning, Numbers, Stops, Task};
use super::types::{
    CreateError, CreateRequest, Created, EndError, Event, Livestreams, Problem, SourceRequest, Status, WaitingPublisher,
};
use crate::config::Secret;
use crate::ingest::pair::{BackupSource, Pair};
use crate::ingest::source::SourcePath;
use crate::ingest::{Single, Source, pull};

/// Livestreams that are over are remembered, with the numbers they used, up to this many.
const REMEMBERED: usize = 1000;
/// Events a slow listener may lag behind.
const EVENTS: usize = 256;
/// The application that keys of our own making are published to.
const PUSH_APP: &str = "live";

/// The livestreams. Clones share them.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    environment: Arc<Environment>,
    livestreams: Mutex<BTreeMap<StreamName, Entry>>,
    events: broadcast::Sender<Event>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// Livestreams are taken up again by the next process: none is ended with this one.
    suspending: CancellationToken,
    limit: usize,
    rtmp: bool,
    memory: Option<Memory>,
}

/// What outlives this process.
#[derive(Debug)]
struct Memory {
    file: StateFile,
    /// One writer at a time, so that the newest is what stays.
    turn: tokio::sync::Mutex<()>,
    /// Livestreams of an earlier process that could not be taken up; they may be the next time.
    waiting: Mutex<Vec<Saved>>,
}

#[derive(Debug)]
struct Entry {
    request: CreateRequest,
    stream_key: Option<Secret>,
    shared: Arc<Shared>,
    end: CancellationToken,
    over: CancellationToken,
    numbers: Arc<OnceLock<Numbers>>,
    /// Stops what still writes the last playlists.
    publishing: CancellationToken,
}

/// What a new broadcast needs to know of the one before it under the same name.
#[derive(Debug)]
struct Previous {
    over: CancellationToken,
    numbers: Arc<OnceLock<Numbers>>,
    publishing: CancellationToken,
}

impl Registry {
    /// No livestreams yet; at most `limit` at once. `rtmp` tells whether publishers can come. With a state file,
    /// livestreams outlive this process.
    pub fn new(environment: Arc<Environment>, limit: usize, rtmp: bool, file: Option<StateFile>) -> Self {
        let memory = file.map(|file| Memory { file, turn: tokio::sync::Mutex::default(), waiting: Mutex::default() });
        Self {
            inner: Arc::new(Inner {
                environment,
                livestreams: Mutex::default(),
                events: broadcast::Sender::new(EVENTS),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
                suspending: CancellationToken::new(),
                limit,
                rtmp,
                memory,
            }),
        }
    }

    /// What the origin serves from.
    pub fn shared(&self, name: &StreamName) -> Option<Arc<Shared>> {
        self.lock().get(name).map(|entry| Arc::clone(&entry.shared))
    }

    /// Ends every livestream, or with a state file suspends it. From here on a source that goes is no end.
    pub fn begin_shut_down(&self) {
        self.inner.stopping.cancel();
        if self.outlives() {
            self.inner.suspending.cancel();
        } else {
            self.lock().values().for_each(|entry| entry.end.cancel());
        }
    }

    /// Waits until all livestreams are over, after [`Registry::begin_shut_down`].
    pub async fn shut_down(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Whether livestreams are taken up again after a restart.
    pub fn outlives(&self) -> bool {
        self.inner.memory.is_some()
    }

    /// Takes up what an earlier process left.
    pub async fn resume(&self, saved: Vec<Saved>) {
        let ffmpeg = match self.inner.environment.capabilities().await {
            Ok(_) => Ok(()),
            Err(error) => Err(CreateError::Ffmpeg { message: error.to_string() }),
        };
        for livestream in saved {
            let begun = ffmpeg.clone().and_then(|()| self.take_up(&livestream));
            let name = &livestream.request.name;
            match begun {
                Ok(()) => tracing::info!(stream = %name, "taken up again after the restart"),
                Err(error) => {
                    tracing::error!(stream = %name, %error, "cannot be taken up again; it stays in the state file");
                    if let Some(memory) = &self.inner.memory {
                        memory.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(livestream);
                    }
                }
            }
        }
        self.remember().await;
    }

    fn take_up(&self, saved: &Saved) -> Result<(), CreateError> {
        let Saved { request, stream_key, created_at } = saved;
        let mut livestreams = self.lock();
        self.check(request)?;
        self.check_room(&livestreams)?;
        let shared = self.begin(&mut livestreams, request, stream_key.clone(), true);
        shared.update_quietly(|status| status.created_at = *created_at);
        Ok(())
    }

    /// Writes down what is live. A file that cannot be written is told of, and what runs goes on.
    async fn remember(&self) {
        let Some(memory) = &self.inner.memory else { return };
        let _turn = memory.turn.lock().await;
        let saved = self.live(memory);
        let file = memory.file.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || file.write(&saved)).await {
            tracing::error!(%error, "after a restart the livestreams of now are not taken up again");
        }
    }

    fn live(&self, memory: &Memory) -> Vec<Saved> {
        let livestreams = self.lock();
        let live = livestreams.values().filter(|entry| entry.shared.state().is_live() && !entry.end.is_cancelled());
        let mut saved: Vec<Saved> = live
            .map(|entry| Saved {
                request: entry.request.clone(),
                stream_key: entry.stream_key.clone(),
                created_at: entry.shared.status().created_at,
            })
            .collect();
        let mut waiting = memory.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiting| !livestreams.contains_key(&waiting.request.name));
        saved.extend(waiting.iter().cloned());
        saved
    }

    /// Tells listeners about publishers who wait.
    pub fn tell(&self, event: Event) {
        let _ = self.inner.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamName, Entry>> {
        self.inner.livestreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_unless_live(
        &self,
        request: CreateRequest,
        ffmpeg: Result<(), CreateError>,
    ) -> Result<Created, CreateError> {
        let name = request.name.clone();
        let mut livestreams = self.lock();
        if let Some(entry) = livestreams.get(&name).filter(|entry| entry.shared.state().is_live()) {
            if entry.request != request {
                return Err(CreateError::Conflict { name });
            }
            return Ok(Created { name, stream_key: entry.stream_key.clone(), existing: true });
        }
        self.check(&request)?;
        ffmpeg?;
        if self.inner.environment.capacity.is_shedding() && !request.force {
            return Err(CreateError::OverCapacity);
        }
        self.check_room(&livestreams)?;
        let stream_key = matches!(request.source, SourceRequest::Push).then(new_stream_key);
        self.begin(&mut livestreams, &request, stream_key.clone(), false);
        Ok(Created { name, stream_key, existing: false })
    }

    fn check(&self, request: &CreateRequest) -> Result<(), CreateError> {
        if self.inner.stopping.is_cancelled() {
            return Err(CreateError::ShuttingDown);
        }
        let pulled = |source: &SourceRequest| matches!(source, SourceRequest::Pull(_));
        let needs_rtmp = !pulled(&request.source) || request.backup.as_ref().is_some_and(|backup| !pulled(backup));
        if needs_rtmp && !self.inner.rtmp {
            return Err(CreateError::RtmpOff);
        }
        Ok(())
    }

    fn check_room(&self, livestreams: &BTreeMap<StreamName, Entry>) -> Result<(), CreateError> {
        let live = livestreams.values().filter(|entry| entry.shared.state().is_live()).count();
        if live >= self.inner.limit {
            return Err(CreateError::TooMany { limit: self.inner.limit });
        }
        Ok(())
    }

    /// Begins a livestream that was checked. `resumed` tells that an earlier process had it.
    fn begin(
        &self,
        livestreams: &mut BTreeMap<StreamName, Entry>,
        request: &CreateRequest,
        stream_key: Option<Secret>,
        resumed: bool,
    ) -> Arc<Shared> {
        let previous = livestreams.get(&request.name).map(|entry| Previous {
            over: entry.over.clone(),
            numbers: Arc::clone(&entry.numbers),
            publishing: entry.publishing.clone(),
        });
        let entry = Entry {
            request: request.clone(),
            stream_key,
            shared: Arc::new(Shared::new(request, &self.inner.environment, self.inner.events.clone())),
            end: CancellationToken::new(),
            over: CancellationToken::new(),
            numbers: Arc::default(),
            publishing: self.inner.environment.shutdown.child_token(),
        };
        // Attached before the answer: a publisher that comes right after it is expected.
        let source = self.source(request, entry.stream_key.as_ref());
        let shared = Arc::clone(&entry.shared);
        self.spawn(&entry, source, previous, resumed);
        livestreams.insert(request.name.clone(), entry);
        forget(livestreams);
        shared
    }

    fn source(&self, request: &CreateRequest, stream_key: Option<&Secret>) -> Source {
        let environment = &self.inner.environment;
        let main = single(environment, &request.source, stream_key);
        let Some(backup) = &request.backup else { return Source::One(main) };
        let backup = match backup {
            SourceRequest::Pull(_) => {
                let (environment, backup) = (Arc::clone(environment), backup.clone());
                BackupSource::OnDemand(Box::new(move || single(&environment, &backup, None)))
            }
            SourceRequest::Own(_) | SourceRequest::Push => {
                BackupSource::Attached(single(environment, backup, stream_key))
            }
        };
        Source::Two(Box::new(Pair::new(main, backup, environment.source_timeout)))
    }

    fn spawn(&self, entry: &Entry, source: Source, previous: Option<Previous>, resumed: bool) {
        let registry = self.clone();
        let (request, shared) = (entry.request.clone(), Arc::clone(&entry.shared));
        let (over, numbers) = (entry.over.clone(), Arc::clone(&entry.numbers));
        let stops = Stops {
            end: entry.end.clone(),
            suspend: self.inner.suspending.clone(),
            publishing: entry.publishing.clone(),
        };
        self.inner.tasks.spawn(async move {
            let known = match previous {
                Some(previous) => {
                    previous.over.cancelled().await;
                    // It may still be trying a store that is out of reach. Its last playlist must not come after ours.
                    previous.publishing.cancel();
                    previous.numbers.get().copied()
                }
                None => None,
            };
            let environment = Arc::clone(&registry.inner.environment);
            let beginning = Beginning { numbers: known, resumed };
            let task = Task::new(request, shared, environment, source, stops, beginning).await;
            // Set once, here.
            let _ = numbers.set(task.run().await);
            over.cancel();
            registry.remember().await;
        });
    }
}

#[async_trait]
impl Livestreams for Registry {
    async fn create(&self, request: CreateRequest) -> Result<Created, CreateError> {
        let ffmpeg = self.inner.environment.capabilities().await.map(|_| ());
        let ffmpeg = ffmpeg.map_err(|error| CreateError::Ffmpeg { message: error.to_string() });
        let created = self.create_unless_live(request, ffmpeg)?;
        if !created.existing {
            // Not left half done by a client that does not wait for its answer.
            let registry = self.clone();
            let _ = tokio::spawn(async move { registry.remember().await }).await;
        }
        Ok(created)
    }

    fn get(&self, name: &StreamName) -> Option<Status> {
        self.lock().get(name).map(|entry| entry.shared.status())
    }

    fn list(&self) -> Vec<Status> {
        self.lock().values().map(|entry| entry.shared.status()).collect()
    }

    async fn end(&self, name: &StreamName) -> Result<(), EndError> {
        let (end, over) = match self.lock().get(name) {
            Some(entry) => (entry.end.clone(), entry.over.clone()),
            None => return Err(EndError::NotFound { name: name.clone() }),
        };
        end.cancel();
        self.remember().await;
        over.cancelled().await;
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    fn waiting(&self) -> Vec<WaitingPublisher> {
        self.inner.environment.hub.waiting().into_iter().map(waiting_publisher).collect()
    }

    async fn unready(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.inner.stopping.is_cancelled() {
            problems.push(Problem { code: "shutting-down".into(), message: "the server is shutting down".into() });
        }
        if let Err(error) = self.inner.environment.capabilities().await {
            problems.push(Problem { code: "ffmpeg-unusable".into(), message: error.to_string() });
        }
        if let Err(error) = self.inner.environment.store.health().await {
            problems.push(Problem { code: "store-unavailable".into(), message: error.to_string() });
        }
        problems
    }
}

fn single(environment: &Environment, source: &SourceRequest, stream_key: Option<&Secret>) -> Single {
    match source {
        SourceRequest::Own(url) => Single::pushed(environment.hub.subscribe(SourcePath::new(url.app(), url.key()))),
        SourceRequest::Push => {
            let key = stream_key.map(|key| key.expose().to_owned()).unwrap_or_default();
            Single::pushed(environment.hub.subscribe(SourcePath::new(PUSH_APP, key)))
        }
        SourceRequest::Pull(url) => {
            Single::pulled(pull::start(url.clone(), environment.ffmpeg.clone(), environment.source_rules.clone()))
        }
    }
}

/// A publisher who waits, as the API shows it.
pub fn waiting_publisher(waiting: crate::ingest::hub::Waiting) -> WaitingPublisher {
    WaitingPublisher {
        app: waiting.path.app().to_owned(),
        rtmp_url: format!("rtmp://localhost/{}/{}", waiting.path.app(), waiting.path.key()),
        peer: waiting.peer.to_string(),
        since: waiting.since,
    }
}

/// 128 bits from the system's generator, in hexadecimal.
fn new_stream_key() -> Secret {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).unwrap_or_else(|_| fastrand::fill(&mut bytes));
    Secret::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The oldest that are over go when there are too many. Their numbers live on in the store.
fn forget(livestreams: &mut BTreeMap<StreamName, Entry>) {
    while livestreams.len() > REMEMBERED {
        let oldest = livestreams
            .iter()
            .filter(|(_, entry)| !entry.shared.state().is_live())
            .min_by_key(|(_, entry)| entry.shared.status().ended_at)
            .map(|(name, _)| name.clone());
        let Some(name) = oldest else { return };
        livestreams.remove(&name);
    }
}
