//! The commands as a new user runs them: the demo from start to Ctrl-C, and what is said when a machine is not ready.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use support::{Server, eventually};

/// The demo has the machine to itself, but a small one.
const LONG: Duration = Duration::from_secs(60);

fn tailwater(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command that is expected to end by itself: its answer, and all it printed.
fn ends(arguments: &[&str], env: &[(&str, &str)]) -> (Output, String) {
    let output = tailwater(arguments).envs(env.iter().copied()).output().expect("tailwater starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

/// The lines a child prints, as they come.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("its stdout"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn descendants(pid: u32) -> Vec<u32> {
    let (_, children, _) = support::run("pgrep", &["-P", &pid.to_string()]);
    children
        .lines()
        .filter_map(|line| line.parse().ok())
        .flat_map(|child| [vec![child], descendants(child)].concat())
        .collect()
}

#[rstest]
#[case::plain(&[], "http://")]
#[case::with_a_certificate_of_its_own(&["--tls"], "https://")]
#[tokio::test]
async fn the_demo_plays_says_where_and_ends_cleanly_at_ctrl_c(#[case] more: &[&str], #[case] scheme: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("t.toml");
    let ladder = "[[ladder]]\nname = \"90p\"\nheight = 90\nvideo_bitrate = 150000\npreset = \"ultrafast\"\n";
    std::fs::write(&config, ladder).expect("a file");
    let config = config.display().to_string();
    let arguments =
        ["demo", "--camera", "320x180", "--store", "memory:", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"];
    let mut child =
        tailwater(&[&arguments[..], &["--config", &config], more].concat()).spawn().expect("the demo starts");
    let printed = lines(&mut child);
    let until = |wanted: &str| loop {
        let line = printed.recv_timeout(LONG).unwrap_or_else(|_| panic!("the demo never says {wanted:?}"));
        if line.contains(wanted) {
            break line;
        }
    };
    let player = until("/watch/mymomentostream");
    let player = player.split_whitespace().last().expect("a URL").to_owned();
    until("/live/mymomentostream/playlist.m3u8");
    // The line that lives: state, rungs, speed, last segment.
    let line = until("last segment");
    assert!(line.contains("live") && line.contains("90p") && line.contains("speed"), "{line}");
    assert!(player.starts_with(scheme), "{player}");
    // Nobody vouches for its certificate but itself.
    let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().expect("a client");
    let page = client.get(&player).send().await.expect("the player page");
    assert_eq!(page.status(), 200);
    let http2 = page.version() == reqwest::Version::HTTP_2;
    assert_eq!(http2, scheme == "https://", "{:?}", page.version());

    let below = descendants(child.id());
    assert!(below.len() >= 2, "the camera and the transcoder: {below:?}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill").success());
    until("ending");
    assert!(child.wait().expect("its end").success());
    eventually("no process left", Duration::from_secs(3), async || {
        below.iter().all(|pid| !support::server::is_alive(*pid)).then_some(())
    })
    .await;
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_runs() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    for flag in ["--http", "--rtmp"] {
        let other = if flag == "--http" { "--rtmp" } else { "--http" };
        let (output, said) = ends(&["serve", flag, &address, other, "127.0.0.1:0", "--store", "memory:"], &[]);
        assert!(!output.status.success());
        assert!(said.contains(&address) && said.contains(flag), "{said}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_written_is_told_at_start() {
    let serve = ["serve", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--store", "file:/proc/nowhere"];
    let (output, said) = ends(&serve, &[]);
    assert!(!output.status.success());
    assert!(said.contains("/proc/nowhere"), "{said}");
}

/// An FFmpeg that answers like one, built without libx264.
fn without_libx264(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("ffmpeg");
    std::fs::write(&path, "#!/bin/sh\nffmpeg \"$@\" | grep -v libx264\n").expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    path.display().to_string()
}

#[tokio::test]
async fn without_ffmpeg_or_its_libx264_doctor_and_the_post_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let crippled = without_libx264(folder.path());
    for (ffmpeg, words) in [("/nonexistent/ffmpeg", "FFMPEG_PATH"), (crippled.as_str(), "libx264")] {
        let env = [("FFMPEG_PATH", ffmpeg)];
        let doctor = ["doctor", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--store", "memory:"];
        let (output, said) = ends(&doctor, &env);
        assert!(!output.status.success() && said.contains(words), "{said}");

        let server = Server::in_folder(folder.path(), "", &[], &env);
        let body = json!({"rtmpUrl": server.publish_url("k"), "streamName": "s"});
        let (status, answer) = server.post(&body).await;
        assert_eq!(status, 503, "{answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(words)), "{answer}");
        assert_eq!(server.get("/livestreams/s").await.status(), 404, "nothing was started");
        assert_eq!(server.get("/readyz").await.status(), 503);
    }
}

#[test]
fn a_machine_that_is_ready_is_told_so() {
    let doctor = ["doctor", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--store", "memory:"];
    let (output, said) = ends(&doctor, &[]);
    assert!(output.status.success() && said.contains("Ready"), "{said}");
}
