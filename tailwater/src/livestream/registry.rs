//! The livestreams of this process, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::name::StreamName;
use super::shared::{Environment, Shared};
use super::task::{Numbers, Task};
use super::types::{
    CreateError, CreateRequest, Created, EndError, Event, Livestreams, Problem, SourceRequest, Status, WaitingPublisher,
};
use crate::config::Secret;
use crate::ingest::source::SourcePath;
use crate::ingest::{Source, pull};

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
    limit: usize,
    rtmp: bool,
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
    /// No livestreams yet; at most `limit` at once. `rtmp` tells whether publishers can come.
    pub fn new(environment: Arc<Environment>, limit: usize, rtmp: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                environment,
                livestreams: Mutex::default(),
                events: broadcast::Sender::new(EVENTS),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
                limit,
                rtmp,
            }),
        }
    }

    /// What the origin serves from.
    pub fn shared(&self, name: &StreamName) -> Option<Arc<Shared>> {
        self.lock().get(name).map(|entry| Arc::clone(&entry.shared))
    }

    /// Ends every livestream and waits until all are over.
    pub async fn shut_down(&self) {
        self.inner.stopping.cancel();
        for entry in self.lock().values() {
            entry.end.cancel();
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Tells listeners about publishers who wait.
    pub fn tell(&self, event: Event) {
        let _ = self.inner.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamName, Entry>> {
        self.inner.livestreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, request: &CreateRequest) -> Result<(), CreateError> {
        if self.inner.stopping.is_cancelled() {
            return Err(CreateError::ShuttingDown);
        }
        if !self.inner.rtmp && !matches!(request.source, SourceRequest::Pull(_)) {
            return Err(CreateError::RtmpOff);
        }
        Ok(())
    }

    fn source(&self, request: &CreateRequest, stream_key: Option<&Secret>) -> Source {
        let environment = &self.inner.environment;
        match &request.source {
            SourceRequest::Own(url) => Source::Pushed(environment.hub.subscribe(SourcePath::new(url.app(), url.key()))),
            SourceRequest::Push => {
                let key = stream_key.map(|key| key.expose().to_owned()).unwrap_or_default();
                Source::Pushed(environment.hub.subscribe(SourcePath::new(PUSH_APP, key)))
            }
            SourceRequest::Pull(url) => {
                Source::Pulled(pull::start(url.clone(), environment.ffmpeg.clone(), environment.source_rules.clone()))
            }
        }
    }

    fn spawn(&self, entry: &Entry, source: Source, previous: Option<Previous>) {
        let registry = self.clone();
        let (request, shared, end) = (entry.request.clone(), Arc::clone(&entry.shared), entry.end.clone());
        let (over, numbers, publishing) = (entry.over.clone(), Arc::clone(&entry.numbers), entry.publishing.clone());
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
            let task = Task::new(request, shared, environment, source, end, publishing, known).await;
            // Set once, here.
            let _ = numbers.set(task.run().await);
            over.cancel();
        });
    }
}

#[async_trait]
impl Livestreams for Registry {
    async fn create(&self, request: CreateRequest) -> Result<Created, CreateError> {
        let name = request.name.clone();
        let ffmpeg = self.inner.environment.capabilities().await.map(|_| ());
        let mut livestreams = self.lock();
        let previous = livestreams.get(&name);
        if let Some(entry) = previous.filter(|entry| entry.shared.state().is_live()) {
            if entry.request != request {
                return Err(CreateError::Conflict { name });
            }
            return Ok(Created { name, stream_key: entry.stream_key.clone(), existing: true });
        }
        self.check(&request)?;
        ffmpeg.map_err(|error| CreateError::Ffmpeg { message: error.to_string() })?;
        let live = livestreams.values().filter(|entry| entry.shared.state().is_live()).count();
        if live >= self.inner.limit {
            return Err(CreateError::TooMany { limit: self.inner.limit });
        }
        let previous = previous.map(|entry| Previous {
            over: entry.over.clone(),
            numbers: Arc::clone(&entry.numbers),
            publishing: entry.publishing.clone(),
        });
        let stream_key = matches!(request.source, SourceRequest::Push).then(new_stream_key);
        let entry = Entry {
            request: request.clone(),
            stream_key: stream_key.clone(),
            shared: Arc::new(Shared::new(&request, &self.inner.environment, self.inner.events.clone())),
            end: CancellationToken::new(),
            over: CancellationToken::new(),
            numbers: Arc::default(),
            publishing: self.inner.environment.shutdown.child_token(),
        };
        // Attached before the answer: a publisher that comes right after it is expected.
        let source = self.source(&request, stream_key.as_ref());
        self.spawn(&entry, source, previous);
        livestreams.insert(name.clone(), entry);
        forget(&mut livestreams);
        Ok(Created { name, stream_key, existing: false })
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
