//! `onMetaData`: what the encoder says about its stream. Hints, no more: encoders get them wrong.

use crate::amf::{Reader, Value};

/// The numbers of `onMetaData` that are of use. What is absent, not finite or negative is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetaData {
    /// Picture width in pixels.
    pub width: Option<f64>,
    /// Picture height in pixels.
    pub height: Option<f64>,
    /// Frames a second.
    pub frame_rate: Option<f64>,
    /// Video bit rate, as announced, in kbit/s.
    pub video_data_rate: Option<f64>,
    /// Audio bit rate, as announced, in kbit/s.
    pub audio_data_rate: Option<f64>,
    /// Audio samples a second.
    pub audio_sample_rate: Option<f64>,
    /// Audio channels (`audiochannels`, or 2 for `stereo: true` and 1 for false).
    pub audio_channels: Option<f64>,
    /// Whether a video codec is announced: `Some(false)` when there is other track information and no video in it.
    pub has_video: Option<bool>,
    /// Whether an audio codec is announced, likewise.
    pub has_audio: Option<bool>,
    /// The encoder's name.
    pub encoder: Option<String>,
}

impl MetaData {
    /// Reads the body of a script tag. `None` when it is another script than `onMetaData`, or no AMF0.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut name = reader.value().ok()?;
        if matches!(&name, Value::String(text) if text == "@setDataFrame") {
            name = reader.value().ok()?;
        }
        if !matches!(&name, Value::String(text) if text == "onMetaData") {
            return None;
        }
        let properties = match reader.value().ok()? {
            Value::Object(properties) => properties,
            _ => return None,
        };
        let find = |wanted: &str| {
            properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let number = |wanted: &str| match find(wanted) {
            Some(Value::Number(value)) if value.is_finite() && *value > 0.0 => Some(*value),
            // Some encoders write their numbers as text.
            Some(Value::String(text)) => {
                text.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0)
            }
            _ => None,
        };
        let stereo = match find("stereo") {
            Some(Value::Boolean(true)) => Some(2.0),
            Some(Value::Boolean(false)) => Some(1.0),
            _ => None,
        };
        let video = find("videocodecid").is_some() || find("width").is_some() || find("videodatarate").is_some();
        let audio =
            find("audiocodecid").is_some() || find("audiosamplerate").is_some() || find("audiodatarate").is_some();
        let says = video || audio;
        Some(MetaData {
            width: number("width"),
            height: number("height"),
            frame_rate: number("framerate").or_else(|| number("fps")),
            video_data_rate: number("videodatarate"),
            audio_data_rate: number("audiodatarate"),
            audio_sample_rate: number("audiosamplerate"),
            audio_channels: number("audiochannels").or(stereo),
            has_video: says.then_some(video),
            has_audio: says.then_some(audio),
            encoder: match find("encoder") {
                Some(Value::String(text)) => Some(text.chars().filter(|c| !c.is_control()).take(100).collect()),
                _ => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An AMF0 string with its marker, and a property name.
    fn string(text: &str) -> Vec<u8> {
        let mut out = vec![2];
        out.extend(key(text));
        out
    }

    fn key(text: &str) -> Vec<u8> {
        let mut out = (text.len() as u16).to_be_bytes().to_vec();
        out.extend(text.as_bytes());
        out
    }

    fn number(value: f64) -> Vec<u8> {
        let mut out = vec![0];
        out.extend(value.to_be_bytes());
        out
    }

    #[test]
    fn numbers_of_an_ecma_array_are_read() {
        let mut body = string("onMetaData");
        body.extend([8, 0, 0, 0, 3]);
        for (name, value) in [("width", 1920.0), ("framerate", 29.97), ("videocodecid", 7.0)] {
            body.extend(key(name));
            body.extend(number(value));
        }
        body.extend([0, 0, 9]);
        let metadata = MetaData::parse(&body).unwrap();
        assert_eq!((metadata.width, metadata.frame_rate), (Some(1920.0), Some(29.97)));
        assert_eq!((metadata.has_video, metadata.has_audio), (Some(true), Some(false)));
    }

    #[test]
    fn a_missing_end_marker_is_forgiven_and_nonsense_is_not_metadata() {
        let mut body = string("@setDataFrame");
        body.extend(string("onMetaData"));
        body.push(3);
        body.extend(key("fps"));
        body.extend(string("25"));
        assert_eq!(MetaData::parse(&body).unwrap().frame_rate, Some(25.0));
        assert_eq!(MetaData::parse(&string("onTextData")), None);
        assert_eq!(MetaData::parse(&[0xff; 20]), None);
    }
}
