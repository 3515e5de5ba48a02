//! What the live window has not, the store may have.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::join_all;

use super::stage::{Remote, Show, get, get_with, media, origin};

#[tokio::test(start_paused = true)]
async fn what_left_the_live_window_comes_from_the_store() {
    let show = Show::new(&["720p"], true, 10);
    show.parts(10);
    show.forget("cam_720p_segment000.ts");
    let store = Remote::new();
    let router = origin(Some(show), store.clone());
    assert_eq!(get(&router, "/live/cam/cam_720p_segment000.ts").await.status, 404);
    store.holds("cam_720p_segment001.ts", media("other")).await;
    store.holds("cam_720p_init0.mp4", media("init")).await;
    let init = get(&router, "/live/cam/cam_720p_init0.mp4").await;
    assert_eq!((init.status.as_u16(), init.header("content-type")), (200, "video/mp4"));
    let segment = get(&router, "/live/cam/cam_720p_segment001.ts").await;
    assert_eq!(segment.body, media("cam_720p_segment001.ts").contiguous(), "the live window comes first");
}

#[tokio::test(start_paused = true)]
async fn a_livestream_that_runs_elsewhere_is_served_from_the_store() {
    let store = Remote::new();
    store.holds("cam_playlist.m3u8", "#EXTM3U\n").await;
    store.holds("cam_720p_playlist.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n").await;
    store.holds("cam_720p_segment000.ts", media("segment")).await;
    let router = origin(None, store);
    for path in ["playlist.m3u8", "cam_playlist.m3u8", "cam_720p_playlist.m3u8"] {
        let answer = get(&router, &format!("/live/cam/{path}")).await;
        assert!(answer.text().starts_with("#EXTM3U"), "{path}");
        assert_eq!(answer.header("vary"), "accept-encoding");
    }
    let segment = get(&router, "/live/cam/cam_720p_segment000.ts").await;
    assert_eq!(segment.status, 200);
    // What is left of its TTL, which began a moment ago.
    assert_eq!(segment.header("cache-control"), "public, max-age=599, immutable");
    assert_eq!(get(&router, "/live/cam/low-latency.m3u8").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn ranges_are_read_from_local_and_remote_stores_alike() {
    for local in [true, false] {
        let store = Remote { local, ..Remote::new() };
        store.holds("cam_720p_segment000.ts", media("segment")).await;
        let router = origin(None, store);
        let path = "/live/cam/cam_720p_segment000.ts";
        for (range, status, content_range) in [
            ("bytes=10-19", 206, "bytes 10-19/100"),
            ("bytes=90-200", 206, "bytes 90-99/100"),
            ("bytes=95-", 206, "bytes 95-99/100"),
            ("bytes=-5", 206, "bytes 95-99/100"),
            ("bytes=100-", 416, "bytes */100"),
        ] {
            let answer = get_with(&router, path, &[("range", range)]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-range")),
                (status, content_range),
                "{local} {range}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn equal_reads_at_the_same_time_are_one_read() {
    let store = Remote::new();
    store.holds("cam_720p_segment000.ts", media("segment")).await;
    let router = origin(None, store.clone());
    let answers = join_all((0..50).map(|_| get(&router, "/live/cam/cam_720p_segment000.ts"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(store.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_has_costs_the_store_one_read_for_a_crowd() {
    let store = Remote::new();
    let router = origin(None, store.clone());
    for _ in 0..100 {
        assert_eq!(get(&router, "/live/nobody/playlist.m3u8").await.status, 404);
    }
    assert!(store.reads() <= 2, "{} reads", store.reads());
}

#[tokio::test(start_paused = true)]
async fn a_store_out_of_reach_is_503_and_is_asked_again() {
    let store = Remote::new();
    store.holds("cam_playlist.m3u8", "#EXTM3U\n").await;
    store.down.store(true, Ordering::Relaxed);
    let router = origin(None, store.clone());
    let answer = get(&router, "/live/cam/playlist.m3u8").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.header("cache-control"), "no-store");
    store.down.store(false, Ordering::Relaxed);
    assert_eq!(get(&router, "/live/cam/playlist.m3u8").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_store_out_of_reach_does_not_show_at_the_live_edge() {
    let show = Show::new(&["720p"], true, 10);
    show.tell();
    show.parts(10);
    let store = Remote::new();
    store.down.store(true, Ordering::Relaxed);
    let router = origin(Some(Arc::clone(&show)), store.clone());
    for path in ["playlist.m3u8", "cam_720p_playlist.m3u8", "cam_720p_segment001.ts"] {
        assert_eq!(get(&router, &format!("/live/cam/{path}")).await.status, 200, "{path}");
    }
    assert_eq!(store.reads(), 0);
}
