//! FFmpeg as an encoder that publishes by RTMP, or as whatever else sends.

use std::process::{Child, Command, Stdio};

/// A publisher. Dropping it kills it, as when a cable is pulled.
pub struct Camera {
    child: Child,
}

/// What a camera shows.
#[derive(Clone)]
pub struct Picture {
    pub size: &'static str,
    pub rate: &'static str,
    /// Frames from keyframe to keyframe.
    pub gop: u32,
    pub video: bool,
    pub audio: bool,
    /// Further output options.
    pub more: Vec<&'static str>,
}

impl Default for Picture {
    fn default() -> Self {
        Self { size: "320x180", rate: "30", gop: 30, video: true, audio: true, more: Vec::new() }
    }
}

impl Camera {
    /// Publishes for ever: 320x180 at 30 with a tone.
    pub fn publish(url: &str) -> Self {
        Self::show(url, &Picture::default())
    }

    pub fn show(url: &str, picture: &Picture) -> Self {
        Self::start(url, picture, None)
    }

    /// Publishes for so many seconds, then ends in order.
    pub fn publish_for(url: &str, picture: &Picture, seconds: u32) -> Self {
        Self::start(url, picture, Some(seconds))
    }

    fn start(url: &str, picture: &Picture, seconds: Option<u32>) -> Self {
        let mut arguments: Vec<String> = ["-hide_banner", "-loglevel", "error", "-nostdin"].map(str::to_owned).to_vec();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        if picture.video {
            let source = format!("testsrc2=size={}:rate={}", picture.size, picture.rate);
            add(&["-re", "-f", "lavfi", "-i", &source]);
        }
        if picture.audio {
            add(&["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        }
        if picture.video {
            let gop = picture.gop.to_string();
            add(&["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", &gop]);
            add(&["-keyint_min", &gop, "-sc_threshold", "0", "-b:v", "500k"]);
        }
        if picture.audio {
            add(&["-c:a", "aac", "-b:a", "96k"]);
        }
        add(&picture.more);
        if let Some(seconds) = seconds {
            add(&["-t", &seconds.to_string()]);
        }
        add(&["-f", "flv", url]);
        Self::ffmpeg(&arguments)
    }

    /// FFmpeg with any arguments.
    pub fn ffmpeg(arguments: &[String]) -> Self {
        let child = Command::new("ffmpeg")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ffmpeg is installed");
        Self { child }
    }

    /// Asks it to end in order, as when "Stop Streaming" is pressed.
    pub fn stop(mut self) {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its end, and what it complained about.
    pub fn finish(mut self) -> (bool, String) {
        use std::io::Read;
        let mut complaints = String::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            let _ = stderr.read_to_string(&mut complaints);
        }
        (self.child.wait().is_ok_and(|status| status.success()), complaints)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
