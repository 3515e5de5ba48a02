//! HLS without I/O: MPEG-TS and CMAF bytes in; segments, parts and playlists out.
//!
//! The walk of the data through this crate:
//!
//! ```text
//!  bytes of one pipe ─▶ slice::{TsSlicer, CmafSlicer} ─▶ Part, Segment
//!                                                          │ date::ProgramClock gives them dates
//!                                                          │ bandwidth::Meter weighs them
//!                                                          ▼
//!                       playlist text ◀─ Snapshot ◀─ window::Window
//!                       multivariant text ◀─ multivariant::Multivariant
//! ```
//!
//! - [`mod@slice`] cuts an encoder's output at random-access points; the bytes are passed on as they came.
//! - [`media`] says what the encoded bits are: codec strings, sizes, rates.
//! - [`window`] keeps what a media playlist lists and decides what a blocking reload waits for.
//! - [`multivariant`], [`bandwidth`] and [`date`] are what is beside a media playlist.
//! - [`time`] holds the two clocks' types.
//!
//! Nothing here knows a clock, a file, a socket, a task or a source of randomness: times come in as arguments, so
//! that everything is tested without waiting. The rules are those of draft-pantos-hls-rfc8216bis-22, called
//! "RFC 8216bis" in the comments, and of Apple's HLS authoring specification.
#![forbid(unsafe_code)]

pub mod bandwidth;
pub mod date;
pub mod media;
pub mod multivariant;
mod playlist;
pub mod slice;
pub mod time;
pub mod window;

#[doc(hidden)]
pub mod fuzzing;
