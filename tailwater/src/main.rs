//! The command line.

fn main() -> std::process::ExitCode {
    tailwater::cli::run()
}
