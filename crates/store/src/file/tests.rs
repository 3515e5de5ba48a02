use super::*;

use std::fs;
use std::os::unix::fs::PermissionsExt;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::system() }
    }

    fn config(&self) -> FileConfig {
        FileConfig { clock: self.clock, ..FileConfig::new(self.folder.path()) }
    }

    async fn open(&self) -> Files {
        Files::open(self.config()).await.unwrap()
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with(LOCK_FILE) {
                    files.push(path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }
}

async fn put(store: &Files, name: &str, bytes: usize, ttl: u64) -> Result<(), Error> {
    let key = key(name);
    store.put(&key, vec![7; bytes].into(), &PutOptions::new(&key, Duration::from_secs(ttl))).await
}

async fn is_found(store: &Files, name: &str) -> bool {
    store.get(&key(name), None).await.is_ok()
}

#[tokio::test]
async fn objects_are_plain_files_in_a_folder_per_rendition() {
    let bench = Bench::new();
    let store = bench.open().await;
    put(&store, "s_1080p_segment000.ts", 1000, 60).await.unwrap();
    put(&store, "s_playlist.m3u8", 10, 60).await.unwrap();
    assert_eq!(bench.files(), ["s/1080p/s_1080p_segment000.ts", "s/s_playlist.m3u8"]);
    assert_eq!(fs::read(bench.path("s/s_playlist.m3u8")).unwrap(), [7; 10]);
    let expiry = fs::metadata(bench.path("s/s_playlist.m3u8")).unwrap().modified().unwrap();
    let left = expiry.duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn the_janitor_removes_expired_files_and_empty_folders() {
    let bench = Bench::new();
    let store = bench.open().await;
    put(&store, "s_1080p_segment000.ts", 1000, 10).await.unwrap();
    put(&store, "s_playlist.m3u8", 10, 30).await.unwrap();
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert!(is_found(&store, "s_1080p_segment000.ts").await);
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert!(!is_found(&store, "s_1080p_segment000.ts").await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.files(), ["s/s_playlist.m3u8"]);
    assert!(!bench.path("s/1080p").exists());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!bench.path("s").exists());
    assert_eq!(store.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_serves_what_was_stored_until_its_ttl() {
    let bench = Bench::new();
    let store = bench.open().await;
    put(&store, "s_a_segment000.ts", 1000, 10).await.unwrap();
    put(&store, "s_a_segment001.ts", 1000, 60).await.unwrap();
    drop(store);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let store = bench.open().await;
    assert!(!is_found(&store, "s_a_segment000.ts").await);
    let object = store.get(&key("s_a_segment001.ts"), None).await.unwrap();
    assert_eq!(object.payload.contiguous(), vec![7; 1000]);
    assert_eq!(object.ttl_left.unwrap().as_secs_f64().round(), 40.0);
    assert!(object.stored_at.is_some());
    assert_eq!(bench.files(), ["s/a/s_a_segment001.ts"]);
    tokio::time::sleep(Duration::from_secs(41)).await;
    assert!(!is_found(&store, "s_a_segment001.ts").await);
}

#[tokio::test]
async fn the_scan_removes_half_written_files_and_leaves_others_alone() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("s/a")).unwrap();
    let future = SystemTime::now() + Duration::from_secs(60);
    for name in ["s/a/.1f.tmp", "s/a/s_a_segment000.ts", "s/a/notes.txt", "s/a/.hidden", "s/s_a_segment001.ts"] {
        fs::write(bench.path(name), "x").unwrap();
        fs::File::options().append(true).open(bench.path(name)).unwrap().set_modified(future).unwrap();
    }
    let store = bench.open().await;
    assert_eq!(store.list("").await.unwrap(), [key("s_a_segment000.ts")]);
    assert_eq!(bench.files(), ["s/a/.hidden", "s/a/notes.txt", "s/a/s_a_segment000.ts", "s/s_a_segment001.ts"]);
}

#[tokio::test]
async fn the_folder_is_bounded_and_the_oldest_segments_go_first_also_after_a_restart() {
    let bench = Bench::new();
    let max = 10 * cost(1000);
    let config = || FileConfig { max_bytes: max, ..bench.config() };
    let store = Files::open(config()).await.unwrap();
    put(&store, "s_playlist.m3u8", 100, 60).await.unwrap();
    for n in 0..20 {
        put(&store, &format!("s_a_segment{n:03}.ts"), 1000, 60).await.unwrap();
        assert!(store.bytes() <= max);
    }
    assert_eq!(store.list("s_a_").await.unwrap()[0], key("s_a_segment011.ts"));
    assert!(is_found(&store, "s_playlist.m3u8").await);
    drop(store);
    let store = Files::open(FileConfig { max_bytes: 5 * cost(1000), ..config() }).await.unwrap();
    assert_eq!(store.list("s_a_").await.unwrap().len(), 4);
    assert_eq!(bench.files().len(), 5);
}

#[tokio::test]
async fn reads_do_not_need_the_memory_nor_the_memory_the_disk() {
    let bench = Bench::new();
    let store = bench.open().await;
    put(&store, "s_a_segment000.ts", 5000, 60).await.unwrap();
    fs::remove_file(bench.path("s/a/s_a_segment000.ts")).unwrap();
    assert!(is_found(&store, "s_a_segment000.ts").await, "hot objects come from memory");

    let cold = Files::open(FileConfig { hot_bytes: 0, ..FileConfig::new(bench.path("cold")) }).await.unwrap();
    put(&cold, "s_a_segment000.ts", 5000, 60).await.unwrap();
    let range = cold.get(&key("s_a_segment000.ts"), Some(10..20)).await.unwrap();
    assert_eq!((range.payload.len(), range.size), (10, 5000));
    fs::remove_file(bench.path("cold/s/a/s_a_segment000.ts")).unwrap();
    assert!(!is_found(&cold, "s_a_segment000.ts").await);
    assert_eq!(cold.bytes(), 0, "a file that a user removed is forgotten");
}

#[tokio::test]
async fn a_second_process_is_refused_the_folder() {
    let bench = Bench::new();
    let _first = bench.open().await;
    let second = Files::open(bench.config()).await;
    assert!(matches!(second, Err(Error::Unavailable { .. })), "{second:?}");
}

#[tokio::test]
async fn a_name_longer_than_file_systems_take_is_refused_by_name() {
    let bench = Bench::new();
    let store = bench.open().await;
    let refused = put(&store, &"x".repeat(256), 1, 1).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert!(!is_found(&store, &"x".repeat(256)).await);
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_named() {
    let bench = Bench::new();
    fs::write(bench.path("taken"), "x").unwrap();
    let refused = Files::open(FileConfig::new(bench.path("taken"))).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_failed_put_leaves_the_old_object_and_no_rubbish() {
    let bench = Bench::new();
    let store = bench.open().await;
    put(&store, "s_a_playlist.m3u8", 10, 60).await.unwrap();
    fs::create_dir_all(bench.path("s/b/s_b_playlist.m3u8/in-the-way")).unwrap();
    assert!(put(&store, "s_b_playlist.m3u8", 10, 60).await.is_err());
    assert_eq!(bench.files(), ["s/a/s_a_playlist.m3u8"]);
    assert_eq!(store.bytes(), cost(10));
}

#[test]
fn what_the_system_refuses_has_its_name() {
    let at = || At::store("file:x", Operation::Put);
    for (code, expected) in [(28, "full"), (122, "full"), (24, "full"), (23, "full"), (13, "auth"), (30, "auth")] {
        let error = errors::io(at(), &io::Error::from_raw_os_error(code));
        assert_eq!(error.code(), expected, "{error}");
    }
    let files = errors::io(at(), &io::Error::from_raw_os_error(24)).to_string();
    assert!(files.contains("too many open files") && files.contains("ulimit"), "{files}");
}

/// Root may write anywhere, so this proves something only for other users.
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_at_start() {
    let bench = Bench::new();
    let folder = bench.path("closed");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    let opened = Files::open(FileConfig::new(&folder)).await;
    let root = fs::File::create(folder.join("written-by-root")).is_ok();
    assert!(root || matches!(opened, Err(Error::Auth { .. })), "{opened:?}");
}

#[tokio::test]
async fn an_abandoned_put_is_whole_or_not_at_all() {
    let bench = Bench::new();
    let store = bench.open().await;
    for n in 0..50 {
        let name = format!("s_a_segment{n:03}.ts");
        let one = put(&store, &name, 200_000, 60);
        let _ = tokio::time::timeout(Duration::from_micros(n * 20), one).await;
    }
    // What is still under way holds its permit.
    let _all = store.inner.files.acquire_many(u32::try_from(CONCURRENT_FILES).unwrap()).await.unwrap();
    for file in bench.files() {
        assert!(!file.ends_with(".tmp"), "{file}");
        assert_eq!(fs::metadata(bench.path(&file)).unwrap().len(), 200_000);
    }
}
