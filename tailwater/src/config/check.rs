//! What must hold between settings, and what may be so but should be known.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{ConfigError, HumanDuration, OnLoss, Resolved};
use crate::ladder::{VideoCodec, rung::validate_preset, validate_rungs};
use crate::load::LoadSettings;

/// RFC 8216bis 6.2.2: a live playlist never gets shorter than three target durations.
pub const SHORTEST_WINDOW: Duration = Duration::from_secs(3);
/// A day is what players scroll through; more belongs in a recording.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Slack on top of what RFC 8216bis 6.2.2 asks for, for clocks and slow clients.
const TTL_SLACK: Duration = Duration::from_secs(10);

/// The shortest TTL that keeps every listed object readable.
///
/// RFC 8216bis 6.2.2: a removed segment stays available for its own duration plus that of the longest playlist that
/// listed it. Two target durations cover the segment and the delay of publishing it.
pub fn shortest_ttl(window: Duration, target_duration: Duration) -> Duration {
    window + 2 * target_duration + TTL_SLACK
}

/// Judges window and TTL of the configuration or of a single livestream.
///
/// # Errors
/// The name of the setting at fault, and a sentence about it.
pub fn window_and_ttl(window: Duration, ttl: Duration, target: Duration) -> Result<(), (&'static str, String)> {
    if window < SHORTEST_WINDOW {
        return Err((
            "window",
            format!("a window of {} is too short: players need at least 3s to start", HumanDuration(window)),
        ));
    }
    if window > LONGEST_WINDOW {
        return Err(("window", format!("a window of {} is too long: 24h at most", HumanDuration(window))));
    }
    // "MUST NOT be less than three times the Target Duration" (RFC 8216bis 6.2.2): that long it is whatever is set.
    let shortest = shortest_ttl(window.max(3 * target), target);
    if ttl < shortest {
        return Err((
            "ttl",
            format!(
                "a TTL of {} is too short for a window of {}: playlists would list expired segments; set it to {} or \
                 more, or shorten the window",
                HumanDuration(ttl),
                HumanDuration(window),
                HumanDuration(shortest)
            ),
        ));
    }
    Ok(())
}

/// Checks between the values of `resolved`; touches nothing outside.
///
/// # Errors
/// The first fault found.
pub fn values(resolved: &Resolved) -> Result<(), ConfigError> {
    let invalid = |setting, message: String| ConfigError::Invalid { setting, message };
    for store in &resolved.stores {
        window_and_ttl(resolved.window, store.ttl.unwrap_or(resolved.ttl), resolved.ladder.longest_target())
            .map_err(|(setting, message)| invalid(setting, message))?;
    }
    validate_rungs(&resolved.ladder.rungs, resolved.ladder.audio_bitrate, resolved.ladder.format)
        .map_err(|error| invalid("ladder", error.to_string()))?;
    api(resolved)?;
    addresses(resolved)?;
    if resolved.resume {
        state_file(resolved)?;
    }
    if resolved.live_window.duration < Duration::from_secs(10) {
        return Err(invalid("live_window", "its duration must be at least 10s: low latency is made of it".into()));
    }
    if resolved.live_window.max_bytes < 8 << 20 {
        return Err(invalid("live_window", "its max_bytes must be at least 8 MiB: low latency is made of it".into()));
    }
    load(&resolved.load)?;
    if let Some(preset) = &resolved.ladder.preset {
        validate_preset(preset, &VideoCodec::H264)
            .map_err(|known| invalid("preset", format!("{preset:?} is not known: {known}")))?;
    }
    let limits = &resolved.limits;
    for (name, value) in [
        ("max_livestreams", limits.max_livestreams),
        ("max_connections", limits.max_connections),
        ("max_rtmp_connections", limits.max_rtmp_connections),
        ("max_waiters_per_livestream", limits.max_waiters_per_livestream),
        ("max_waiters", limits.max_waiters),
    ] {
        if value == 0 {
            return Err(invalid("limits", format!("{name} is 0: nothing could be served; leave it out or raise it")));
        }
    }
    Ok(())
}

/// It holds stream keys, and a CDN may show whatever is in a store.
fn state_file(resolved: &Resolved) -> Result<(), ConfigError> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let file = absolute(&resolved.state_file);
    let folders = resolved.stores.iter().filter(|store| store.url.scheme() == store::Scheme::File);
    match folders.map(|store| absolute(Path::new(store.url.location()))).find(|folder| file.starts_with(folder)) {
        None => Ok(()),
        Some(folder) => Err(ConfigError::Invalid {
            setting: "state_file",
            message: format!(
                "{} is in the store's folder {}, which viewers may reach, and it holds stream keys: put it elsewhere",
                file.display(),
                folder.display()
            ),
        }),
    }
}

fn load(load: &LoadSettings) -> Result<(), ConfigError> {
    let invalid = |message: &str| Err(ConfigError::Invalid { setting: "load", message: message.into() });
    if !(0.01..=10.0).contains(&load.max_load) {
        return invalid(
            "max_load is a share of the machine's cores, 0.01 to 10: 0.9 unless it is given; admission = false turns it off",
        );
    }
    if load.slowness.is_some_and(|slowness| !(0.001..=1000.0).contains(&slowness)) {
        return invalid("slowness is 0.001 to 1000: leave it out to have it measured");
    }
    if load.times.ahead > load.times.behind {
        return invalid("ahead is less lag than behind: give both");
    }
    Ok(())
}

/// "none: then the API is served on loopback only, unless `--insecure`".
fn api(resolved: &Resolved) -> Result<(), ConfigError> {
    let address = resolved.api_address();
    let open = !address.ip().is_loopback() && resolved.api.token.is_none() && !resolved.api.insecure;
    if open {
        return Err(ConfigError::Invalid {
            setting: "api_token",
            message: format!(
                "anyone who reaches {address} could start and end livestreams. Set --api-token, or serve the API apart \
                 with --api 127.0.0.1:3001, or accept it with --insecure"
            ),
        });
    }
    match &resolved.api.token {
        Some(token) if token.expose().trim().len() < 8 => Err(ConfigError::Invalid {
            setting: "api_token",
            message: "it is shorter than 8 characters and could be guessed".into(),
        }),
        Some(token) if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) => Err(ConfigError::Invalid {
            setting: "api_token",
            message: "it has characters that an HTTP header cannot carry: use printable ASCII without spaces".into(),
        }),
        _ => Ok(()),
    }
}

fn addresses(resolved: &Resolved) -> Result<(), ConfigError> {
    let listeners = [("http", Some(resolved.http)), ("api", resolved.api.listener), ("rtmp", resolved.rtmp)];
    for (index, (setting, address)) in listeners.iter().enumerate() {
        for (other, taken) in &listeners[..index] {
            if let (Some(address), Some(taken)) = (address, taken)
                && collide(*address, *taken)
            {
                return Err(ConfigError::Invalid {
                    setting,
                    message: format!("{address} is taken by `{other}` already: give each listener a port of its own"),
                });
            }
        }
    }
    Ok(())
}

/// Port 0 asks the system for a free one, which collides with nothing.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host =
        a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && same_host
}

/// Checks that the files the settings name can be read.
///
/// # Errors
/// The first that cannot.
pub fn files(resolved: &Resolved) -> Result<(), ConfigError> {
    if let Some(picture) = &resolved.slate.picture {
        readable("slate", picture)?;
    }
    let Some(tls) = &resolved.tls else { return Ok(()) };
    readable("tls_cert", &tls.cert)?;
    readable("tls_key", &tls.key)
}

fn readable(setting: &'static str, path: &Path) -> Result<(), ConfigError> {
    std::fs::read(path).map(drop).map_err(|source| ConfigError::FileSetting { setting, path: path.to_owned(), source })
}

/// What is allowed but should be known.
pub fn warnings(resolved: &Resolved) -> Vec<String> {
    let mut warnings = Vec::new();
    let address = resolved.api_address();
    if resolved.api.insecure && resolved.api.token.is_none() && !address.ip().is_loopback() {
        warnings.push(format!("the API at {address} is open to whoever reaches it, as --insecure allows"));
    }
    if resolved.api.token.is_some() && resolved.tls.is_none() && !address.ip().is_loopback() {
        warnings.push(format!(
            "the API token travels to {address} unencrypted: set --tls-cert and --tls-key, or a proxy with TLS"
        ));
    }
    if resolved.on_loss == OnLoss::Slate && resolved.reconnect_window.is_zero() {
        let warning =
            "on_loss = \"slate\" shows nothing: reconnect_window is 0s, and a lost source ends the livestream";
        warnings.push(warning.to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;
    use crate::config::{File, Flags, resolved::part_target};

    fn flags(line: &str) -> Flags {
        let command = Flags::augment_args(Command::new("t").no_binary_name(true));
        Flags::from_arg_matches(&command.try_get_matches_from(line.split_whitespace()).unwrap()).unwrap()
    }

    fn resolve(line: &str, env: &str, file: &str) -> Result<Resolved, String> {
        let file = File::parse(Path::new("t.toml"), file).map_err(|error| error.to_string())?;
        Resolved::merge(&flags(line), &flags(env), &file).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_pinned_ones() {
        let resolved = resolve("", "", "").unwrap();
        assert_eq!(resolved.http.to_string(), "127.0.0.1:3000");
        assert_eq!(resolved.rtmp.unwrap().to_string(), "127.0.0.1:1935");
        assert_eq!(resolved.stores[0].url.to_string(), "file:tailwater-data");
        assert_eq!((resolved.ttl, resolved.window), (Duration::from_secs(3600), Duration::from_secs(300)));
        assert_eq!((resolved.log_format, resolved.auto_start), (crate::config::LogFormat::Text, false));
        assert!(resolved.api.listener.is_none() && resolved.api.token.is_none() && !resolved.api.insecure);
        assert_eq!(resolved.ladder, crate::ladder::LadderConfig::default());
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = "ttl = \"3h\"\nrtmp = \"none\"\ninsecure = true\nstore = \"memory:\"";
        let resolved = resolve("--ttl 1h30m", "--ttl 2h --http 127.0.0.1:0", file).unwrap();
        assert_eq!(resolved.ttl, Duration::from_secs(5400));
        assert_eq!((resolved.http.port(), resolved.rtmp, resolved.api.insecure), (0, None, true));
        assert_eq!(resolved.stores[0].url.to_string(), "memory:");
        let resolved = resolve("--insecure=false --store memory: --store file:x", "--store file:y", file).unwrap();
        assert!(!resolved.api.insecure);
        assert_eq!(resolved.stores.len(), 2);
    }

    #[test]
    fn a_ttl_that_lets_listed_segments_expire_is_refused_with_the_value_that_would_do() {
        let error = resolve("--ttl 5m", "", "").unwrap_err();
        assert!(error.contains("5m 12s"), "{error}");
        assert!(resolve("--ttl 312s", "", "").is_ok());
        let error = resolve("", "", "store = [\"memory:\", {url = \"file:x\", ttl = \"1m\"}]").unwrap_err();
        assert!(error.contains("too short"), "{error}");
        assert!(resolve("", "", "window = \"2s\"").unwrap_err().contains("at least 3s"));
    }

    #[test]
    fn what_the_file_says_of_a_store_becomes_part_of_its_url() {
        let file = "store_max_bytes = \"1 GiB\"\nstore = [\"file:a\", {url = \"file:b?hot=1MiB\", ttl = \"24h\", max_bytes = 5000}]";
        let stores = resolve("", "", file).unwrap().stores;
        assert_eq!(stores[0].url.bytes("max").unwrap(), Some(1 << 30));
        assert_eq!(
            (stores[1].url.bytes("max").unwrap(), stores[1].url.bytes("hot").unwrap()),
            (Some(5000), Some(1 << 20))
        );
        assert_eq!((stores[0].ttl, stores[1].ttl), (None, Some(Duration::from_secs(86_400))));
        let error = resolve("", "", "store = [{url = \"file:a\", ttl = \"24h\"}]").unwrap_err();
        assert!(error.contains("first store"), "{error}");
    }

    #[test]
    fn the_api_off_loopback_needs_a_token_or_a_word() {
        let error = resolve("--http 0.0.0.0:3000", "", "").unwrap_err();
        assert!(error.contains("--api-token") && error.contains("--insecure"), "{error}");
        assert!(resolve("--http 0.0.0.0:3000 --api-token long-enough", "", "").is_ok());
        assert!(resolve("--http 0.0.0.0:3000 --api 127.0.0.1:3001", "", "").is_ok());
        assert!(resolve("--api 0.0.0.0:3001", "", "").is_err());
        let resolved = resolve("--http [::]:3000 --insecure", "", "").unwrap();
        assert!(resolved.warnings[0].contains("open to whoever"));
        assert!(resolve("--api-token short", "", "").is_err());
    }

    #[test]
    fn a_token_is_in_no_debug_output() {
        let resolved = resolve("--api-token correct-horse", "", "").unwrap();
        assert!(!format!("{resolved:?}").contains("horse"));
        assert!(!format!("{:?}", flags("--api-token correct-horse")).contains("horse"));
    }

    #[test]
    fn certificate_and_key_come_together_and_can_be_read() {
        assert!(resolve("--tls-cert c.pem", "", "").unwrap_err().contains("--tls-key"));
        assert!(resolve("--tls-key c.pem", "", "").unwrap_err().contains("--tls-cert"));
        let resolved = resolve("--tls-cert /nonexistent/c.pem --tls-key /nonexistent/k.pem", "", "").unwrap();
        assert!(files(&resolved).unwrap_err().to_string().contains("/nonexistent/c.pem"));
    }

    #[test]
    fn a_slate_needs_on_loss_a_readable_picture_and_a_window() {
        assert!(resolve("", "", "slate_color = \"#ffffff\"").unwrap_err().contains("on_loss"));
        assert!(resolve("", "", "slate = \"a.png\"").unwrap_err().contains("on_loss"));
        assert!(resolve("", "", "").unwrap().shown_on_loss().is_none());
        let resolved = resolve("", "", "on_loss = \"slate\"\nslate = \"/nonexistent/a.png\"").unwrap();
        assert!(resolved.shown_on_loss().is_some() && resolved.warnings.is_empty());
        assert!(files(&resolved).unwrap_err().to_string().contains("/nonexistent/a.png"));
        let resolved = resolve("", "", "on_loss = \"slate\"\nreconnect_window = \"0s\"").unwrap();
        assert!(resolved.warnings[0].contains("shows nothing"), "{:?}", resolved.warnings);
    }

    #[test]
    fn the_state_file_is_beside_the_store_and_never_in_it() {
        let state_file = |file| resolve("", "", file).map(|resolved| resolved.state_file.display().to_string());
        assert_eq!(state_file("").unwrap(), "tailwater-data-state.json");
        assert_eq!(state_file("store = \"file:/var/lib/t/media\"").unwrap(), "/var/lib/t/media-state.json");
        assert_eq!(state_file("store = \"memory:\"\nresume = true").unwrap(), "tailwater-state.json");
        assert_eq!(state_file("resume = true\nstate_file = \"/x/s.json\"").unwrap(), "/x/s.json");
        assert!(state_file("state_file = \"/x/s.json\"").unwrap_err().contains("resume = true"));
        let inside = "resume = true\nstate_file = \"tailwater-data/state.json\"";
        assert!(state_file(inside).unwrap_err().contains("stream keys"));
    }

    #[test]
    fn presets_and_load_settings_that_mean_nothing_are_refused() {
        assert!(resolve("", "", "preset = \"quick\"").unwrap_err().contains("or auto"));
        assert!(resolve("", "", "preset = \"auto\"").is_ok());
        for wrong in ["max_load = 0.0", "max_load = nan", "slowness = -1.0", "ahead = \"3s\""] {
            assert!(resolve("", "", &format!("[load]\n{wrong}")).unwrap_err().contains("load"), "{wrong}");
        }
        let load = resolve("", "", "[load]\nadmission = false\nmax_load = 1.5").unwrap().load;
        assert_eq!(load, LoadSettings { admission: false, max_load: 1.5, ..LoadSettings::default() });
    }

    #[test]
    fn two_listeners_do_not_share_a_port() {
        assert!(resolve("--http 127.0.0.1:1935", "", "").unwrap_err().contains("taken by `http`"));
        assert!(resolve("--rtmp 0.0.0.0:3000", "", "").is_err());
        assert!(resolve("--http 127.0.0.1:0 --rtmp 127.0.0.1:0 --api 127.0.0.1:0", "", "").is_ok());
    }

    #[test]
    fn a_part_target_holds_whole_aac_frames_and_is_never_rounded_below_them() {
        for (nominal, micros) in [(200, 213_400), (100, 106_700), (50, 64_000), (320, 320_000)] {
            let target = part_target(Duration::from_millis(nominal));
            assert_eq!(target, Duration::from_micros(micros), "{nominal} ms");
            assert!(target >= Duration::from_millis(nominal));
        }
        assert!(resolve("", "", "part = \"2s\"").is_err());
        assert!(resolve("", "", "segment = \"2s\"").unwrap_err().contains("1s"));
    }
}
