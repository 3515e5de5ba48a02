//! Flags, environment and file, resolved to one checked value before anything binds.
//!
//! [`flags`] is what the command line can say, [`env`](mod@env) the same out of the environment, [`file`](mod@file) the TOML
//! with every setting, [`resolved`] the one value all of them become, [`check`] what must hold between its fields.
//! The order is flag, environment, file, default.

pub mod check;
pub mod env;
pub mod file;
pub mod flags;
pub mod resolved;
pub mod units;

pub use env::Env;
pub use file::File;
pub use flags::Flags;
pub use resolved::{Api, Limits, LiveWindowSettings, LogFormat, OnLoss, Resolved, StoreSetting, TlsFiles};
pub use units::{ByteSize, Colour, HumanDuration, Secret};

use std::path::PathBuf;

/// Why a configuration cannot be used. Every message says what is wrong and what to write instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {source}. Give a readable file to --config, or leave it out", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration file is not TOML, or a value in it has the wrong type.
    #[error("{path}, line {line}: {message}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// The configuration file has a key that means nothing.
    #[error("{path}, line {line}: there is no setting `{key}`{}", suggestion(nearest.as_deref()), path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key as written.
        key: String,
        /// The known key that is nearest to it, if one is near.
        nearest: Option<String>,
    },
    /// An environment variable holds what its flag would refuse.
    #[error("the environment variable {variable} cannot be used: {message}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong, without the value where that is a secret.
        message: String,
    },
    /// A single setting has a value that cannot be used.
    #[error("`{setting}` cannot be used: {message}")]
    Invalid {
        /// The setting, as named in the file.
        setting: &'static str,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// A file that a setting names is not there or not readable.
    #[error("`{setting}` names {path}, which cannot be read: {source}", path = path.display())]
    FileSetting {
        /// The setting, as named in the file.
        setting: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}
