//! The commands: serve, demo, doctor, plan.

pub mod demo;
pub mod doctor;
pub mod open_files;
pub mod plan;
pub mod serve;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Flags, Resolved, env, resolved::process_env};

/// Live RTMP in, an adaptive-bitrate ladder of HLS out, published into a media store with time to live.
#[derive(Debug, Parser)]
#[command(name = "tailwater", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Start with:
  tailwater demo          a camera, a livestream, and where to watch it
  tailwater doctor        what this machine has and lacks
  tailwater serve         then publish to rtmp://localhost/live/KEY and
                          POST /livestreams {\"rtmpUrl\": \"rtmp://localhost/live/KEY\", \"streamName\": \"NAME\"}
Settings come from flags, then the environment, then the file of --config, then defaults.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    ///
    /// Takes livestreams by RTMP or from other RTMP servers, transcodes them with FFmpeg, publishes them into the store
    /// and serves them, until SIGTERM or Ctrl-C, which end every livestream in order. A second one exits at once.
    Serve(Flags),
    /// Run the server with a synthetic camera, and say where it plays
    ///
    /// Publishes a moving picture with a clock and a tone by RTMP, does the tutorial's POST, waits until a segment has been
    /// fetched and decoded, prints the URLs, and shows what goes on until Ctrl-C.
    Demo(demo::Options),
    /// Check FFmpeg, ports and store, and say what to do
    ///
    /// Exits with 1 when `serve` with the same settings would not work.
    Doctor(Flags),
    /// Print what a ladder costs, and what of the store's limits it breaks
    ///
    /// Store operations and bytes a second, memory at the TTL, largest object, bandwidth a viewer, and the cores it takes,
    /// measured by a short encode. Exits with 1 when a limit is broken.
    Plan(plan::Options),
}

/// Runs the command that the arguments name. What goes wrong is one sentence on stderr.
pub fn run() -> ExitCode {
    let command = match parse() {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(execute(command));
    // What is left waits for the system (a name being resolved): nothing to wait for.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| fail(&error))
}

fn parse() -> Result<Command, clap::Error> {
    let described = Cli::command().mut_subcommands(|command| match command.get_name() {
        "help" => command,
        _ => env::describe(command),
    });
    Cli::from_arg_matches(&described.try_get_matches()?).map(|cli| cli.command)
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(flags) => {
            let config = Resolved::load(&flags, &process_env)?;
            serve::run(config).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(options) => {
            demo::run(&options).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(flags) => doctor::run(&flags).await,
        Command::Plan(options) => plan::run(&options).await,
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "tailwater: {}", sentence(error));
    ExitCode::FAILURE
}

/// An error and its causes, but for those that it has named itself.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.is_empty() {
        true => cause,
        false if said.contains(&cause) => said,
        false => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_the_help_with_its_variable() {
        for name in ["serve", "doctor", "plan"] {
            let mut command = Cli::command();
            command.build();
            let command = command.find_subcommand(name).unwrap().clone();
            let help = env::describe(command).render_long_help().to_string();
            for (flag, variable) in env::VARIABLES {
                assert!(help.contains(&format!("--{flag}")) && help.contains(variable), "{name}: {flag}\n{help}");
            }
        }
    }

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
