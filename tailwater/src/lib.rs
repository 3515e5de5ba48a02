//! tailwater: live RTMP in, an adaptive-bitrate ladder of HLS out, published into a media store with time to live.
//!
//! The walk of the data, one way: [`ingest`] hands FLV on, [`transcode`] runs FFmpeg over it as [`ladder`] planned,
//! the `hls` crate cuts what comes out, [`livestream`] numbers it and keeps the live window, [`publish`] writes it to
//! the store, [`origin`] serves it. [`control`] is the API, [`web`] the pages, [`config`] the one checked configuration.

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod http;
pub mod ingest;
pub mod ladder;
pub mod livestream;
pub mod load;
pub mod origin;
pub mod publish;
pub mod shutdown;
pub mod telemetry;
pub mod transcode;
pub mod web;
