//! The plan's arithmetic.

use std::path::Path;

use store::Scheme;

use super::{
    cost::Cost,
    limits::{self, Broken},
    *,
};
use crate::{config::File, ladder::Format};

fn config(file: &str) -> Resolved {
    let file = File::parse(Path::new("t.toml"), file).unwrap();
    Resolved::merge(&Flags::default(), &Flags::default(), &file).unwrap()
}

fn planned(config: &Resolved) -> Plan {
    let source: Source = "1920x1080@30".parse().unwrap();
    plan(&source.info(&config.ladder), &config.ladder, &capabilities::Capabilities::typical(4)).unwrap()
}

fn cost(file: &str, streams: u32) -> Cost {
    let config = config(file);
    Cost::of(&planned(&config), &config, streams)
}

fn broken(file: &str, streams: u32, scheme: Scheme) -> Vec<Broken> {
    limits::broken(&cost(file, streams), &limits::documented(scheme))
}

#[test]
fn a_source_is_planned_as_one_that_may_be_copied() {
    for (file, copied) in [("", false), ("passthrough = \"auto\"", true), ("passthrough = \"always\"", true)] {
        let plan = planned(&config(file));
        assert_eq!((plan.copies(), plan.notes.len()), (copied, 0), "{file}: {:?}", plan.notes);
    }
}

#[test]
fn the_tutorials_ladder_at_its_ttl_breaks_momentos_memory() {
    let cost = cost("", 1);
    assert!((cost.puts_per_second - 6.0).abs() < 1e-9, "three segments and three playlists a second");
    let gigabytes = cost.bytes_at_ttl as f64 / 1e9;
    assert!((4.2..5.5).contains(&gigabytes), "{gigabytes} GB");
    let broken = broken("", 1, Scheme::Momento);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].what.starts_with("memory:") && broken[0].what.contains("100.0 MB"), "{}", broken[0]);
    assert!(broken[0].instead.contains("ttl = ") && broken[0].instead.contains("window = "), "{}", broken[0]);
}

#[test]
fn what_is_advised_fits() {
    let advised = broken("", 1, Scheme::Momento)[0].instead.clone();
    let quoted: Vec<&str> = advised.split('"').skip(1).step_by(2).collect();
    let file = format!("ttl = \"{}\"\nwindow = \"{}\"", quoted[0], quoted[1]);
    assert_eq!(broken(&file, 1, Scheme::Momento), [], "{file}");
}

#[test]
fn one_stream_breaks_the_object_stores_bandwidth_and_twenty_its_operations() {
    let one = broken("", 1, Scheme::MomentoObjectStore);
    assert!(one.iter().any(|broken| broken.what.starts_with("bandwidth:")), "{one:?}");
    let many = broken("", 20, Scheme::MomentoObjectStore);
    let operations = many.iter().find(|broken| broken.what.starts_with("operations:")).unwrap();
    assert!(operations.instead.contains("run 16 at a time"), "{operations}");
}

#[test]
fn a_day_long_ttl_and_a_huge_rung_are_told() {
    let file = "ttl = \"48h\"\n[[ladder]]\nname = \"a\"\nheight = 1080\nvideo_bitrate = 60000000";
    let broken = broken(file, 1, Scheme::Momento);
    for what in ["TTL:", "largest object:"] {
        assert!(broken.iter().any(|broken| broken.what.starts_with(what)), "{what} {broken:?}");
    }
}

#[test]
fn cmaf_writes_the_audio_apart() {
    let cost = cost("format = \"cmaf\"", 1);
    assert_eq!(cost.renditions, 4);
    assert_eq!(planned(&config("format = \"cmaf\"")).format, Format::Cmaf);
}

#[test]
fn the_report_says_each_figure_and_each_limit() {
    let config = config("");
    let (plan, mut text) = (planned(&config), Vec::new());
    let cost = Cost::of(&plan, &config, 1);
    report(&mut text, &plan, &cost).unwrap();
    assert!(judged(&mut text, &cost, &limits::documented(Scheme::Momento)).unwrap());
    assert!(!judged(&mut text, &cost, &Capabilities::default()).unwrap());
    let text = String::from_utf8(text).unwrap();
    for words in ["1080p", "1920x1080@30", "6.0 a second", "memory at the TTL", "largest object", "BREAKS memory"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn sources_are_written_with_size_and_rate() {
    assert_eq!("1280x720".parse(), Ok(Source { width: 1280, height: 720, frame_rate: 30.0 }));
    assert_eq!("720x1280@59.94".parse(), Ok(Source { width: 720, height: 1280, frame_rate: 59.94 }));
    for text in ["", "720p", "1280x720@0", "0x0@30", "axb@c", "1280x720@NaN"] {
        assert!(text.parse::<Source>().is_err(), "{text}");
    }
}

#[test]
fn cores_are_predicted_by_what_the_server_judges_by() {
    let plan = planned(&config(""));
    let source: Source = "1920x1080@30".parse().unwrap();
    let lines = |slowness: f64, cores: usize| {
        let mut text = Vec::new();
        let levels = levels(&plan, &source.info(&config("").ladder), slowness);
        cores_lines(&mut text, &levels, 2, cores, cores as f64 * 0.9 / 2.0, false).unwrap();
        String::from_utf8(text).unwrap()
    };
    let fits = lines(1.0, 4);
    assert!(fits.contains("1.0 a livestream, 2.0 of 4 in all") && !fits.contains("Too much"), "{fits}");
    let tight = lines(2.0, 4);
    assert!(tight.contains("starts it with the fastest presets: "), "{tight}");
    assert!(lines(20.0, 2).contains("refuses it"));
}

#[test]
fn what_auto_encodes_before_it_copies_is_told_and_judged_as_by_the_server() {
    let source: Source = "1920x1080@30".parse().unwrap();
    let told = |file: &str, slowness: f64| {
        let config = config(file);
        let (plan, info, machine) =
            (planned(&config), source.info(&config.ladder), capabilities::Capabilities::typical(4));
        let (levels, room, mut text) = (levels(&plan, &info, slowness), 3.6, Vec::new());
        cores_lines(&mut text, &levels, 1, 4, room, plan.copies()).unwrap();
        if let Some(encoded) = encoded_first(&plan, &info, &config.ladder, &machine, slowness, room) {
            encoded_line(&mut text, encoded, room).unwrap();
        }
        String::from_utf8(text).unwrap()
    };
    let auto = "passthrough = \"auto\"";
    let fits = told(auto, 1.0);
    assert!(fits.contains("until its key frames have been seen for five seconds: 1.0 cores"), "{fits}");
    let copied_only = told(auto, 5.0);
    assert!(copied_only.contains("encoded would take 5.1 cores: the server looks"), "{copied_only}");
    assert!(!copied_only.contains("Too much"), "{copied_only}");
    assert!(told("", 5.0).contains("Too much") && !told("", 5.0).contains("key frames"));
}

#[test]
fn a_server_is_warned_at_start_of_what_its_store_cannot_take() {
    let foreseen = foreseen(&config("store = \"momento:x\""), &limits::documented(Scheme::Momento));
    assert_eq!(foreseen.len(), 1);
    let file = "store = [\"memory:\", { url = \"momento:x\", ttl = \"48h\" }]";
    let further = super::foreseen(&config(file), &Capabilities::default());
    let told: Vec<_> = further.iter().map(|(store, broken)| (&store[..9], &broken.what[..4])).collect();
    assert_eq!(told, [("momento:x", "memo"), ("momento:x", "TTL:")], "{further:?}");
    assert_eq!(super::foreseen(&config(""), &Capabilities::default()), []);
}
