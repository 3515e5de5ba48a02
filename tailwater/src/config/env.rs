//! The environment as a layer of its own: each variable is read by the parser of its flag.
//!
//! clap could read the variables itself, but then neither the order of the layers nor a variable's error could be
//! tested without touching the process's environment.

use clap::{Args, Command, FromArgMatches};

use super::{ConfigError, Flags};

/// How the environment is asked for a variable: `|name| std::env::var(name).ok()` outside tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Which variable speaks for which flag. `TAILWATER_STORE` holds one URL: several are for flags or the file.
pub const VARIABLES: [(&str, &str); 13] = [
    ("config", "TAILWATER_CONFIG"),
    ("http", "TAILWATER_HTTP"),
    ("rtmp", "TAILWATER_RTMP"),
    ("store", "TAILWATER_STORE"),
    ("ttl", "TAILWATER_TTL"),
    ("log-format", "TAILWATER_LOG_FORMAT"),
    ("api", "TAILWATER_API"),
    ("api-token", "TAILWATER_API_TOKEN"),
    ("insecure", "TAILWATER_INSECURE"),
    ("auto-start", "TAILWATER_AUTO_START"),
    ("tls-cert", "TAILWATER_TLS_CERT"),
    ("tls-key", "TAILWATER_TLS_KEY"),
    ("ffmpeg", "FFMPEG_PATH"),
];

/// What the environment says. A variable that is set but empty says nothing.
pub fn read(env: Env<'_>) -> Result<Flags, ConfigError> {
    let said: Vec<(&'static str, &'static str, String)> = VARIABLES
        .iter()
        .filter_map(|(flag, variable)| Some((*flag, *variable, env(variable).filter(|value| !value.is_empty())?)))
        .collect();
    for (flag, variable, value) in &said {
        parse(std::iter::once((*flag, value.as_str()))).map_err(|message| ConfigError::Environment {
            variable,
            message: if *flag == "api-token" { "it is not text".to_owned() } else { message },
        })?;
    }
    parse(said.iter().map(|(flag, _, value)| (*flag, value.as_str())))
        .map_err(|message| ConfigError::Environment { variable: "TAILWATER_*", message })
}

fn parse<'a>(said: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Flags, String> {
    let command = Flags::augment_args(Command::new("tailwater").no_binary_name(true));
    command
        .try_get_matches_from(said.map(|(flag, value)| format!("--{flag}={value}")))
        .and_then(|matches| Flags::from_arg_matches(&matches))
        .map_err(|error| first_line(&error))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Names each flag's variable in its help.
pub fn describe(command: Command) -> Command {
    VARIABLES.iter().fold(command, |command, (flag, variable)| {
        let id = flag.replace('-', "_");
        command.mut_arg(id, |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [env: {variable}]"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_speaks_for_its_flag() {
        let flags = read(&|name| match name {
            "TAILWATER_HTTP" => Some("127.0.0.1:8080".into()),
            "TAILWATER_INSECURE" => Some("1".into()),
            "FFMPEG_PATH" => Some("/opt/ffmpeg".into()),
            "TAILWATER_TTL" => Some(String::new()),
            _ => None,
        })
        .unwrap();
        assert_eq!(flags.http, Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(flags.insecure, Some(true));
        assert_eq!(flags.ffmpeg, Some("/opt/ffmpeg".into()));
        assert_eq!(flags.ttl, None);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = read(&|name| (name == "TAILWATER_TTL").then(|| "soon".into())).unwrap_err().to_string();
        assert!(error.contains("TAILWATER_TTL") && error.contains("soon"), "{error}");
    }
}
