//! The order within one rendition: nothing is listed before it is stored, nothing overtakes. Pure.

use std::collections::VecDeque;
use std::time::Instant;

use hls::window::{SegmentInfo, Window, WindowConfig};

use super::uploads::{Outcome, Uploads};

/// What the playlist lists, or will.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) msn: u64,
    /// Discontinuities before it, its own included.
    pub(super) discontinuity_sequence: u64,
    /// It follows a discontinuity.
    pub(super) discontinuity: bool,
    /// Its media initialization section, when it differs from that of the segment before.
    pub(super) init: Option<String>,
    pub(super) info: SegmentInfo,
    /// When it was handed over.
    pub(super) since: Instant,
}

/// One rendition's playlist in the store.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) name: String,
    config: WindowConfig,
    window: Window,
    waiting: VecDeque<Entry>,
    /// The newest listed entries, for the case that the store loses everything.
    listed: VecDeque<Entry>,
    init: Option<String>,
    version: u64,
    published: u64,
    /// Its playlist is in the store.
    stored: bool,
    /// The number after the last that the store's readers may have seen: no playlist that ends before it is shown to
    /// them, whatever the store lost.
    seen: u64,
    /// Segments that no stored playlist lists yet, by the version that will.
    unpublished: VecDeque<(u64, Instant)>,
    ending: bool,
    gaps: u64,
}

impl Track {
    pub(super) fn new(name: String, config: WindowConfig, window: Window) -> Self {
        Self {
            name,
            config,
            window,
            waiting: VecDeque::new(),
            listed: VecDeque::new(),
            init: None,
            version: 0,
            published: 0,
            stored: false,
            seen: 0,
            unpublished: VecDeque::new(),
            ending: false,
            gaps: 0,
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.waiting.push_back(entry);
    }

    /// No more segments: ENDLIST once everything is listed.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// Lists what is stored, in order; what is lost becomes a gap. How many segments were listed.
    pub(super) fn settle(&mut self, uploads: &Uploads) -> usize {
        let mut settled = 0;
        while let Some(outcome) = self.waiting.front().and_then(|entry| outcome(entry, uploads)) {
            let Some(entry) = self.waiting.pop_front() else { break };
            self.list(entry, outcome);
            settled += 1;
        }
        if self.ending && self.waiting.is_empty() && !self.window.snapshot().ended() {
            self.window.end();
            self.version += 1;
        }
        settled
    }

    fn list(&mut self, mut entry: Entry, outcome: Outcome) {
        if outcome == Outcome::Lost {
            self.gaps += 1;
            entry.info.gap = true;
        }
        if entry.discontinuity {
            self.window.discontinuity();
        }
        if entry.init.is_some() && entry.init != self.init {
            self.init.clone_from(&entry.init);
            self.window.set_init(entry.init.as_deref().unwrap_or_default());
        }
        self.window.push_segment(entry.info.clone());
        self.version += 1;
        self.unpublished.push_back((self.version, entry.since));
        self.listed.push_back(entry);
        while self.listed.front().is_some_and(|entry| entry.msn < self.window.first_msn()) {
            self.listed.pop_front();
        }
        self.window.drain_evicted();
    }

    /// The store lost everything it had. What `held` still has is uploaded again and listed again; what came before
    /// that leaves the head of the playlist, which is the one place where a live playlist may shrink (6.2.2).
    pub(super) fn forget(&mut self, held: impl Fn(&str) -> bool) {
        self.stored = false;
        self.seen = self.seen.max(self.window.next_msn());
        let keep = self.listed.iter().rev().take_while(|entry| entry.info.gap || held(&entry.info.uri)).count();
        let lost = self.listed.len() - keep;
        self.listed.drain(..lost);
        let mut again: VecDeque<Entry> = std::mem::take(&mut self.listed);
        again.append(&mut self.waiting);
        self.waiting = again;
        if let Some(first) = self.waiting.front() {
            self.window = Window::new(self.config.clone(), first.msn, first.discontinuity_sequence);
            // The tag itself is counted by the sequence number already.
            if let Some(first) = self.waiting.front_mut() {
                first.discontinuity = false;
            }
        } else {
            let (msn, dsn) = (self.window.next_msn(), self.window.total_discontinuities());
            self.window = Window::new(self.config.clone(), msn, dsn);
        }
        self.init = None;
    }

    /// The playlist's text and version, when it is newer than what the store has.
    pub(super) fn unpublished(&self) -> Option<(u64, String)> {
        let is_news = self.has_news() && self.window.next_msn() >= self.seen;
        is_news.then(|| (self.version, self.window.snapshot().render_plain()))
    }

    fn has_news(&self) -> bool {
        self.version > self.published && self.window.first_msn() < self.window.next_msn()
    }

    /// The playlist's version is in the store. When the segments were handed over that it is the first to list.
    pub(super) fn published(&mut self, version: u64) -> Vec<Instant> {
        self.published = self.published.max(version);
        self.stored = true;
        let known = self.unpublished.iter().take_while(|(of, _)| *of <= version).count();
        self.unpublished.drain(..known).map(|(_, since)| since).collect()
    }

    /// The playlist is put again although nothing changed: before it expires, or because the store lost it.
    pub(super) fn refresh(&mut self) {
        self.version += 1;
    }

    /// Its playlist is in the store.
    pub(super) fn is_listed(&self) -> bool {
        self.stored
    }

    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && !self.has_news()
    }

    /// What has to be in the store before the segments that wait can be listed.
    pub(super) fn needs(&self) -> impl Iterator<Item = &str> {
        let entries = self.waiting.iter().filter(|entry| !entry.info.gap);
        entries.flat_map(|entry| entry.init.as_deref().into_iter().chain([entry.info.uri.as_str()]))
    }

    pub(super) fn wants(&self, key: &str) -> bool {
        self.waiting.iter().any(|entry| entry.info.uri == key || entry.init.as_deref() == Some(key))
    }

    pub(super) fn gaps(&self) -> u64 {
        self.gaps
    }
}

fn outcome(entry: &Entry, uploads: &Uploads) -> Option<Outcome> {
    if entry.info.gap {
        return Some(Outcome::Lost);
    }
    let init = entry.init.as_deref().map_or(Some(Outcome::Stored), |key| uploads.outcome(key))?;
    let media = uploads.outcome(&entry.info.uri)?;
    Some(if init == Outcome::Lost { Outcome::Lost } else { media })
}
