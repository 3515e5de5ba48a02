//! A registry in memory: it starts nothing, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::livestream::{
    name::StreamName,
    types::{
        CreateError, CreateRequest, Created, EndError, Event, LivestreamState, Livestreams, Problem, SourceRequest,
        SourceStatus, Status, WaitingPublisher,
    },
};

#[derive(Debug)]
pub(super) struct InMemory {
    pub(super) asked: Mutex<BTreeMap<StreamName, (CreateRequest, LivestreamState)>>,
    pub(super) refuse: Mutex<Option<CreateError>>,
    pub(super) problems: Mutex<Vec<Problem>>,
    pub(super) events: broadcast::Sender<Event>,
}

impl Default for InMemory {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            refuse: Mutex::default(),
            problems: Mutex::default(),
            events: broadcast::Sender::new(8),
        }
    }
}

impl InMemory {
    pub(super) fn request(&self, name: &str) -> CreateRequest {
        self.asked.lock().unwrap()[&StreamName::parse(name).unwrap()].0.clone()
    }
}

pub(super) fn status(request: &CreateRequest, state: LivestreamState) -> Status {
    Status {
        name: request.name.clone(),
        stream: format!("{}_playlist.m3u8", request.name),
        title: request.title.clone(),
        state,
        source: SourceStatus { kind: "pull".into(), ..SourceStatus::default() },
        renditions: Vec::new(),
        store: Vec::new(),
        error: None,
        format: request.ladder.format,
        low_latency: request.ladder.low_latency,
        window: request.window,
        ttl: request.ttl,
        created_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
        started_at: None,
        ended_at: None,
        speed: None,
        load: None,
        discontinuities: 0,
    }
}

#[async_trait]
impl Livestreams for InMemory {
    async fn create(&self, request: CreateRequest) -> Result<Created, CreateError> {
        if let Some(error) = self.refuse.lock().unwrap().clone() {
            return Err(error);
        }
        let mut asked = self.asked.lock().unwrap();
        let existing = match asked.get(&request.name) {
            Some((same, state)) if state.is_live() && *same == request => true,
            Some((_, state)) if state.is_live() => return Err(CreateError::Conflict { name: request.name }),
            _ => false,
        };
        let stream_key = (request.source == SourceRequest::Push).then(|| "made-up-key".parse().unwrap());
        let name = request.name.clone();
        asked.insert(name.clone(), (request, LivestreamState::Starting));
        Ok(Created { name, stream_key, existing })
    }

    fn get(&self, name: &StreamName) -> Option<Status> {
        self.asked.lock().unwrap().get(name).map(|(request, state)| status(request, *state))
    }

    fn list(&self) -> Vec<Status> {
        self.asked.lock().unwrap().values().map(|(request, state)| status(request, *state)).collect()
    }

    async fn end(&self, name: &StreamName) -> Result<(), EndError> {
        let mut asked = self.asked.lock().unwrap();
        let (_, state) = asked.get_mut(name).ok_or_else(|| EndError::NotFound { name: name.clone() })?;
        *state = LivestreamState::Ended;
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn waiting(&self) -> Vec<WaitingPublisher> {
        Vec::new()
    }

    async fn unready(&self) -> Vec<Problem> {
        self.problems.lock().unwrap().clone()
    }
}
