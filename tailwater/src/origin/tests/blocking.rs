//! RFC 8216bis 6.2.5 and 6.2.6, in virtual time.

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::{task::JoinHandle, time::Instant};

use super::stage::{Answer, Remote, Show, get, origin};

const LOW: &str = "/live/cam/cam_720p_low-latency.m3u8";

/// A livestream with segments 0 and 1, and two parts of segment 2.
fn running() -> (Arc<Show>, Router) {
    let show = Show::new(&["720p", "480p"], true, 3);
    show.tell();
    show.parts(12);
    let router = origin(Some(Arc::clone(&show)), Remote::new());
    (show, router)
}

fn spawn_get(router: &Router, path: &str) -> JoinHandle<Answer> {
    let (router, path) = (router.clone(), path.to_owned());
    tokio::spawn(async move { get(&router, &path).await })
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_playlist_without_directives_is_answered_at_once_and_ends_in_a_hint() {
    let (_show, router) = running();
    let answer = get(&router, LOW).await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"cam_720p_segment002.part2.ts\""), "{text}");
    assert!(
        text.contains("#EXT-X-RENDITION-REPORT:URI=\"cam_480p_low-latency.m3u8\",LAST-MSN=2,LAST-PART=1"),
        "{text}"
    );
    assert!(!text.contains("REPORT:URI=\"cam_720p"), "a playlist does not report on itself: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_held_until_the_part_is_listed() {
    let (show, router) = running();
    let waiting = spawn_get(&router, &format!("{LOW}?_HLS_msn=2&_HLS_part=2"));
    settle().await;
    assert!(!waiting.is_finished());
    show.part();
    let answer = waiting.await.unwrap();
    assert!(
        answer.text().contains("cam_720p_segment002.part2.ts\",INDEPENDENT")
            || answer.text().contains("URI=\"cam_720p_segment002.part2.ts\"")
    );
    assert_eq!(answer.header("cache-control"), "public, max-age=6");
}

#[tokio::test(start_paused = true)]
async fn a_reload_for_a_segment_is_held_until_the_whole_segment_is_listed() {
    let (show, router) = running();
    let waiting = spawn_get(&router, &format!("{LOW}?_HLS_msn=2"));
    show.parts(2);
    settle().await;
    assert!(!waiting.is_finished());
    show.part();
    assert!(waiting.await.unwrap().text().contains("\ncam_720p_segment002.ts\n"));
}

#[tokio::test(start_paused = true)]
async fn a_part_beyond_the_last_of_its_segment_means_the_first_of_the_next() {
    let (show, router) = running();
    show.parts(3);
    let waiting = spawn_get(&router, &format!("{LOW}?_HLS_msn=2&_HLS_part=9"));
    settle().await;
    assert!(!waiting.is_finished());
    show.part();
    assert!(waiting.await.unwrap().text().contains("cam_720p_segment003.part0.ts"));
}

#[tokio::test(start_paused = true)]
async fn what_is_past_is_answered_at_once() {
    let (_show, router) = running();
    for query in ["_HLS_msn=0", "_HLS_msn=1&_HLS_part=3", "_HLS_msn=2&_HLS_part=1"] {
        assert_eq!(get(&router, &format!("{LOW}?{query}")).await.status, 200, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn too_far_ahead_or_malformed_is_400_at_once() {
    let (_show, router) = running();
    for query in ["_HLS_msn=4", "_HLS_msn=99999999999999999999", "_HLS_part=0", "_HLS_msn=x", "_HLS_msn=2&_HLS_part=40"]
    {
        let answer = get(&router, &format!("{LOW}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_within_three_target_durations_is_503() {
    let (_show, router) = running();
    let began = Instant::now();
    let answer = get(&router, &format!("{LOW}?_HLS_msn=2&_HLS_part=2")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!((answer.header("retry-after"), answer.header("cache-control")), ("1", "no-store"));
}

#[tokio::test(start_paused = true)]
async fn unknown_directives_are_ignored() {
    let (_show, router) = running();
    assert_eq!(get(&router, &format!("{LOW}?_HLS_push=1&_HLS_report=0&x=y")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_all_directives_are_ignored() {
    let (show, router) = running();
    show.end();
    for query in ["_HLS_msn=99", "_HLS_part=1", "_HLS_msn=nonsense", "_HLS_skip=YES"] {
        let answer = get(&router, &format!("{LOW}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert!(answer.text().contains("#EXT-X-ENDLIST") && !answer.text().contains("EXT-X-SKIP"), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_livestream_that_ends_while_a_reload_is_parked_answers_it() {
    let (show, router) = running();
    let waiting = spawn_get(&router, &format!("{LOW}?_HLS_msn=3&_HLS_part=0"));
    settle().await;
    show.end();
    assert!(waiting.await.unwrap().text().contains("#EXT-X-ENDLIST"));
}

#[tokio::test(start_paused = true)]
async fn a_skip_is_a_delta_update_once_there_is_something_to_skip() {
    let (show, router) = running();
    let short = get(&router, &format!("{LOW}?_HLS_skip=YES")).await;
    assert!(!short.text().contains("EXT-X-SKIP"), "a window of less than six target durations never skips");
    show.parts(5 * 20);
    for value in ["YES", "v2"] {
        let delta = get(&router, &format!("{LOW}?_HLS_skip={value}")).await;
        assert!(delta.text().contains("#EXT-X-SKIP:SKIPPED-SEGMENTS="), "{}", delta.text());
    }
    assert!(!get(&router, LOW).await.text().contains("EXT-X-SKIP"));
}

#[tokio::test(start_paused = true)]
async fn the_plain_playlist_knows_no_directives_and_has_no_low_latency_tag() {
    let (_show, router) = running();
    let answer = get(&router, "/live/cam/cam_720p_playlist.m3u8?_HLS_msn=99&_HLS_part=x").await;
    assert_eq!(answer.status, 200);
    for tag in ["EXT-X-PART", "PRELOAD-HINT", "SERVER-CONTROL", "RENDITION-REPORT"] {
        assert!(!answer.text().contains(tag), "{tag}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_is_held_until_all_of_it_is_there() {
    let (show, router) = running();
    let waiting = spawn_get(&router, "/live/cam/cam_720p_segment002.part2.ts");
    settle().await;
    assert!(!waiting.is_finished());
    show.part();
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 100));
    assert_eq!(answer.header("content-type"), "video/mp2t");
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_that_never_comes_is_404() {
    let (show, router) = running();
    let waiting = spawn_get(&router, "/live/cam/cam_720p_segment002.part2.ts");
    settle().await;
    show.cut_short();
    show.part();
    assert_eq!(waiting.await.unwrap().status, 404);
    let began = Instant::now();
    assert_eq!(get(&router, "/live/cam/cam_720p_segment003.part1.ts").await.status, 404);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_hinted_is_404_at_once() {
    let (_show, router) = running();
    let began = Instant::now();
    for part in ["segment002.part3.ts", "segment009.part0.ts", "segment002.part2.m4s", "segment02.part2.ts"] {
        assert_eq!(get(&router, &format!("/live/cam/cam_720p_{part}")).await.status, 404, "{part}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_are_bounded_and_one_that_is_dropped_frees_its_place() {
    let (show, router) = running();
    let path = format!("{LOW}?_HLS_msn=2&_HLS_part=2");
    let waiting: Vec<_> = (0..3).map(|_| spawn_get(&router, &path)).collect();
    settle().await;
    let refused = get(&router, &path).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    waiting[0].abort();
    settle().await;
    let accepted = spawn_get(&router, &path);
    settle().await;
    assert!(!accepted.is_finished());
    show.part();
    assert_eq!(accepted.await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_change_is_rendered_once_for_all_who_wait() {
    let (show, router) = running();
    let path = format!("{LOW}?_HLS_msn=2&_HLS_part=2");
    let waiting: Vec<_> = (0..3).map(|_| spawn_get(&router, &path)).collect();
    settle().await;
    show.part();
    let mut bodies = Vec::new();
    for waiting in waiting {
        bodies.push(waiting.await.unwrap().body);
    }
    assert!(bodies.iter().all(|body| body.as_ptr() == bodies[0].as_ptr()), "the bytes are shared");
    let other = get(&router, LOW).await.body;
    assert_eq!(other.as_ptr(), bodies[0].as_ptr());
    show.part();
    assert_ne!(get(&router, LOW).await.body, other);
}

#[tokio::test(start_paused = true)]
async fn a_player_that_comes_before_the_media_is_held_and_then_told_to_try_again() {
    let show = Show::new(&["720p"], true, 10);
    let router = origin(Some(Arc::clone(&show)), Remote::new());
    for path in ["/live/cam/playlist.m3u8", "/live/cam/cam_720p_playlist.m3u8", LOW, "/live/cam/cam_480p_playlist.m3u8"]
    {
        let answer = get(&router, path).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (404, "1"), "{path}");
    }
    let master = spawn_get(&router, "/live/cam/low-latency.m3u8");
    let media = spawn_get(&router, LOW);
    settle().await;
    show.part();
    show.tell();
    assert!(media.await.unwrap().text().contains("segment000.part0.ts"));
    assert!(master.await.unwrap().text().contains("cam_720p_low-latency.m3u8"));
}

#[tokio::test(start_paused = true)]
async fn without_low_latency_there_is_no_low_latency_playlist() {
    let show = Show::new(&["720p"], false, 10);
    show.tell();
    show.parts(5);
    let router = origin(Some(show), Remote::new());
    assert_eq!(get(&router, LOW).await.status, 404);
    assert_eq!(get(&router, "/live/cam/cam_720p_playlist.m3u8").await.status, 200);
}
