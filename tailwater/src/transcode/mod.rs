//! FFmpeg: its command line, its supervisor, its pipes.
