//! Does what the packager asks for, and keeps the status true.

use std::time::{Duration, Instant, SystemTime};

use super::Task;
use crate::livestream::packager::{Output, Packager};
use crate::livestream::shared::store_status;
use crate::livestream::types::{LivestreamState, Status};
use crate::publish::{Command, StoreStatus, sequence};

/// A local store has a segment long before that; a slow one is not waited for.
const STORE_FIRST_PATIENCE: Duration = Duration::from_millis(100);

impl Task {
    pub(super) async fn flush(&mut self) {
        while let Some(output) = self.packager.poll_output() {
            match output {
                Output::Init(key, payload) => self.shared.live().insert_init(key, payload),
                Output::Part(key, payload, date) => self.shared.live().insert_part(key, payload, date),
                Output::Segment(key, payload, date) => {
                    metrics::counter!("tailwater_segments_total").increment(1);
                    metrics::counter!("tailwater_media_bytes_total").increment(payload.len() as u64);
                    self.shared.live().insert_segment(key, payload, date);
                }
                Output::Show(name, snapshot) => self.shared.live().show(&name, snapshot),
                Output::Multivariants(playlists) => self.shared.live().show_multivariants(playlists),
                Output::Publish(command) => self.publisher.send(command).await,
            }
        }
        match (self.packager.waits_for_store(), self.store_first_at) {
            (true, None) => self.store_first_at = Some(Instant::now() + STORE_FIRST_PATIENCE),
            (false, Some(_)) => self.store_first_at = None,
            _ => {}
        }
        self.reserve_numbers().await;
        self.tell();
    }

    /// Nothing before the first session: a broadcast that never began uses no numbers.
    async fn reserve_numbers(&mut self) {
        if !self.packager.has_session() {
            return;
        }
        let recorded = self.record.as_ref().map(|record| record.mark);
        let mark = sequence::Mark::ahead(recorded, self.packager.next_number(), self.packager.discontinuities());
        let record = sequence::Record { mark, renditions: self.packager.known() };
        if self.record.as_ref() != Some(&record) {
            self.record = Some(record.clone());
            self.publisher.send(Command::Sequence(record)).await;
        }
    }

    fn tell(&mut self) {
        let is_running = self.active.as_ref().is_some_and(super::Active::is_running);
        if is_running && self.packager.is_playable() && self.shared.state() != LivestreamState::Live {
            if !self.has_been_live {
                let name = &self.request.name;
                tracing::info!(stream = %name, url = format!("/live/{name}/playlist.m3u8"), "live");
            }
            self.has_been_live = true;
            self.deadline = None;
            let problem = self.lesser_problem();
            self.shared.update(|status| {
                status.state = LivestreamState::Live;
                status.started_at.get_or_insert_with(SystemTime::now);
                status.error = problem;
            });
        }
        let (packager, store) = (&self.packager, self.publisher.status());
        self.shared.update_quietly(|status| bring_up_to_date(status, packager, &store));
    }
}

pub(super) fn bring_up_to_date(status: &mut Status, packager: &Packager, store: &StoreStatus) {
    for rendition in &mut status.renditions {
        if let Some((next_msn, bandwidth)) = packager.progress(&rendition.name) {
            (rendition.next_msn, rendition.bandwidth) = (next_msn, bandwidth);
        }
    }
    status.discontinuities = packager.discontinuities();
    status.store = vec![store_status(store)];
}
