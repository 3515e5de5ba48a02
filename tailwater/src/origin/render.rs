//! Playlists as bytes, rendered and compressed once a change, whoever asks and however many.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hls::window::{RenditionReport, Snapshot};

use super::{
    live::LiveView,
    path::{Latency, media_playlist_key},
};
use crate::livestream::StreamName;

/// A playlist as it is sent.
#[derive(Debug)]
pub struct Rendered {
    text: Bytes,
    etag: String,
    gzip: OnceLock<Bytes>,
}

impl Rendered {
    /// Takes a playlist's text.
    pub fn new(text: String) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        // Weak, because the compressed bytes are not the plain ones.
        let etag = format!("W/\"{:016x}\"", hasher.finish());
        Self { text: text.into(), etag, gzip: OnceLock::new() }
    }

    /// The text.
    pub fn text(&self) -> Bytes {
        self.text.clone()
    }

    /// The text, compressed. Done once.
    pub fn gzip(&self) -> Bytes {
        self.gzip
            .get_or_init(|| {
                let mut encoder = GzEncoder::new(Vec::with_capacity(self.text.len() / 4), Compression::fast());
                // Writing to memory cannot fail; if it did, an empty body would be refused by every player.
                let _ = encoder.write_all(&self.text);
                encoder.finish().unwrap_or_default().into()
            })
            .clone()
    }

    /// `ETag`.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

/// How a media playlist is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Without low-latency tags.
    Plain,
    /// With them.
    LowLatency,
    /// With them, as a delta update.
    Delta,
}

/// A livestream's playlists as rendered last.
#[derive(Debug, Default)]
pub struct Renders {
    media: Mutex<HashMap<String, Arc<Forms>>>,
    multivariants: [Mutex<Option<Arc<Rendered>>>; 2],
}

#[derive(Debug, Default)]
struct Forms([Mutex<Option<Cached>>; 3]);

/// What was rendered, and of what: the rendition itself, and for a low-latency playlist all those it reports on.
#[derive(Debug)]
struct Cached {
    of: Vec<Snapshot>,
    rendered: Arc<Rendered>,
}

impl Renders {
    /// A media playlist at `snapshot`. Who comes second for the same moment gets the bytes of who came first: the lock
    /// is held for the microseconds of rendering, so that a change wakes ten thousand but is rendered once.
    pub fn media(
        &self,
        view: &dyn LiveView,
        name: &StreamName,
        rendition: &str,
        snapshot: &Snapshot,
        form: Form,
    ) -> Arc<Rendered> {
        let others = match form {
            Form::Plain => Vec::new(),
            Form::LowLatency | Form::Delta => {
                view.snapshots().into_iter().filter(|(other, _)| other != rendition).collect()
            }
        };
        let forms = self.forms(rendition);
        let mut cached = lock(&forms.0[form as usize]);
        if let Some(cached) = cached.as_ref()
            && is_of(cached, snapshot, &others)
        {
            return Arc::clone(&cached.rendered);
        }
        let text = match form {
            Form::Plain => snapshot.render_plain(),
            Form::LowLatency => snapshot.render_low_latency(&reports(name, &others), false),
            Form::Delta => snapshot.render_low_latency(&reports(name, &others), true),
        };
        metrics::counter!("tailwater_playlist_renders_total").increment(1);
        let rendered = Arc::new(Rendered::new(text));
        let of = std::iter::once(snapshot.clone()).chain(others.into_iter().map(|(_, other)| other)).collect();
        *cached = Some(Cached { of, rendered: Arc::clone(&rendered) });
        rendered
    }

    /// A multivariant playlist.
    pub fn multivariant(&self, latency: Latency, text: &str) -> Arc<Rendered> {
        let mut cached = lock(&self.multivariants[latency as usize]);
        match cached.as_ref() {
            Some(rendered) if rendered.text == text.as_bytes() => Arc::clone(rendered),
            _ => {
                let rendered = Arc::new(Rendered::new(text.to_owned()));
                *cached = Some(Arc::clone(&rendered));
                rendered
            }
        }
    }

    fn forms(&self, rendition: &str) -> Arc<Forms> {
        let mut media = lock(&self.media);
        match media.get(rendition) {
            Some(forms) => Arc::clone(forms),
            // Only renditions that exist get here, so that requests cannot make this grow.
            None => Arc::clone(media.entry(rendition.to_owned()).or_default()),
        }
    }
}

fn is_of(cached: &Cached, snapshot: &Snapshot, others: &[(String, Snapshot)]) -> bool {
    let Some((first, rest)) = cached.of.split_first() else { return false };
    first.same(snapshot) && rest.len() == others.len() && rest.iter().zip(others).all(|(was, (_, is))| was.same(is))
}

/// "A Rendition Report for each other Media Playlist" (RFC 8216bis B.1).
fn reports(name: &StreamName, others: &[(String, Snapshot)]) -> Vec<RenditionReport> {
    others
        .iter()
        .filter_map(|(rendition, snapshot)| {
            let (last_msn, last_part) = snapshot.last()?;
            Some(RenditionReport { uri: media_playlist_key(name, rendition, Latency::Low), last_msn, last_part })
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
