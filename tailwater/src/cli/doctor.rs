//! `tailwater doctor`: what this machine has and lacks, and what to do about it.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use store::{Key, MediaStore, OpenOptions, PutOptions};

use crate::{
    config::{Flags, Resolved, resolved::process_env},
    http::{Listener, tls::Tls},
    livestream::StateFile,
    transcode::capabilities::{self, Check, Verdict},
};

/// What the round trip writes, reads and deletes.
const PROBE_KEY: &str = "tailwater_doctor";
const PROBE_TTL: Duration = Duration::from_secs(60);

/// Prints a line a check.
///
/// # Errors
/// When stdout is gone.
pub async fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let checks = match Resolved::load(flags, &process_env) {
        Ok(config) => check(&config).await,
        Err(error) => vec![line("settings", Verdict::Bad, error.to_string())],
    };
    print(&mut std::io::stdout().lock(), &checks)?;
    Ok(if checks.iter().any(|check| check.verdict == Verdict::Bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All checks of a configuration, in the order they are shown.
pub async fn check(config: &Resolved) -> Vec<Check> {
    let mut checks: Vec<Check> =
        config.warnings.iter().map(|warning| line("settings", Verdict::Note, warning.clone())).collect();
    checks.extend(capabilities::report(&capabilities::probe(&config.ffmpeg).await));
    checks.extend(ports(config).await);
    if let Some(files) = &config.tls {
        checks.push(match Tls::load(files).await {
            Ok(_) => line("certificate", Verdict::Good, format!("{} can be used", files.cert.display())),
            Err(error) => line("certificate", Verdict::Bad, error.to_string()),
        });
    }
    if let Some(slate) = config.shown_on_loss() {
        checks.push(match slate.check(&config.ffmpeg).await {
            Ok(()) => line("slate", Verdict::Good, "can be shown while a source is lost".to_owned()),
            Err(error) => line("slate", Verdict::Bad, error.to_string()),
        });
    }
    if config.resume {
        checks.push(match StateFile::check(&config.state_file) {
            Ok(()) => line("state file", Verdict::Good, format!("{} can be written", config.state_file.display())),
            Err(error) => line("state file", Verdict::Bad, error.to_string()),
        });
    }
    for store in &config.stores {
        let options = OpenOptions { ttl: config.ttl, ..OpenOptions::default() };
        checks.push(match store::open_backend(&store.url, &process_env, &options).await {
            Ok(store) => round_trip(&*store).await,
            Err(error) => line("store", Verdict::Bad, error.to_string()),
        });
    }
    checks
}

async fn ports(config: &Resolved) -> Vec<Check> {
    let wanted = [("http", Some(config.http)), ("api", config.api.listener), ("rtmp", config.rtmp)];
    let mut checks = Vec::new();
    for (flag, address) in wanted {
        let Some(address) = address else { continue };
        checks.push(port(flag, address).await);
    }
    checks
}

async fn port(flag: &'static str, address: SocketAddr) -> Check {
    match Listener::bind(address, flag).await {
        Ok(_) => line(&format!("{flag} port"), Verdict::Good, format!("{address} is free")),
        Err(error) => line(&format!("{flag} port"), Verdict::Bad, error.to_string()),
    }
}

async fn round_trip(store: &dyn MediaStore) -> Check {
    match write_read_delete(store).await {
        Ok(()) => line("store", Verdict::Good, format!("{store} takes and gives back what it is given")),
        Err(message) => line("store", Verdict::Bad, message),
    }
}

async fn write_read_delete(store: &dyn MediaStore) -> Result<(), String> {
    let key = Key::parse(PROBE_KEY).map_err(|error| error.to_string())?;
    let sent = store::Payload::from("tailwater");
    store.put(&key, sent.clone(), &PutOptions::new(&key, PROBE_TTL)).await.map_err(|error| error.to_string())?;
    let read = store.get(&key, None).await.map_err(|error| error.to_string())?;
    store.delete(&key).await.map_err(|error| error.to_string())?;
    if read.payload == sent { Ok(()) } else { Err(format!("{store} gave back other bytes than it was given")) }
}

fn line(what: &str, verdict: Verdict, detail: String) -> Check {
    Check { what: what.to_owned(), verdict, detail }
}

fn print(out: &mut impl Write, checks: &[Check]) -> std::io::Result<()> {
    for check in checks {
        let mark = match check.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        writeln!(out, "{mark} {}: {}", check.what, check.detail)?;
    }
    match checks.iter().filter(|check| check.verdict == Verdict::Bad).count() {
        0 => writeln!(out, "\nReady: start it with `tailwater serve`."),
        1 => writeln!(out, "\nOne thing is in the way."),
        count => writeln!(out, "\n{count} things are in the way."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;

    fn config(file: &str) -> Resolved {
        let file = File::parse(std::path::Path::new("t.toml"), file).unwrap();
        Resolved::merge(&Flags::default(), &Flags::default(), &file).unwrap()
    }

    fn of<'a>(checks: &'a [Check], what: &str) -> &'a Check {
        checks.iter().find(|check| check.what == what).unwrap()
    }

    #[tokio::test]
    async fn a_machine_with_everything_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config("http = \"127.0.0.1:0\"\nrtmp = \"127.0.0.1:0\"");
        config.stores[0].url = store::StoreUrl::parse(&format!("file:{}", folder.path().display())).unwrap();
        let checks = check(&config).await;
        assert!(checks.iter().all(|check| check.verdict != Verdict::Bad), "{checks:?}");
        assert_eq!(of(&checks, "store").verdict, Verdict::Good);
        let mut text = Vec::new();
        print(&mut text, &checks).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("Ready"));
    }

    #[tokio::test]
    async fn what_is_missing_is_said_with_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config("http = \"127.0.0.1:0\"\nffmpeg = \"/nonexistent/ffmpeg\"");
        config.rtmp = Some(taken.local_addr().unwrap());
        config.stores[0].url = store::StoreUrl::parse("file:/proc/nowhere").unwrap();
        let checks = check(&config).await;
        for (what, words) in [("FFmpeg", "install it"), ("rtmp port", "--rtmp"), ("store", "/proc/nowhere")] {
            let check = of(&checks, what);
            assert_eq!(check.verdict, Verdict::Bad, "{check:?}");
            assert!(check.detail.contains(words), "{check:?}");
        }
    }
}
