//! The command line: noun, verb, and what is needed for it.
//!
//! What a running server can do is asked of it over its socket; where none runs, the same command is carried out on the
//! database directly. Exit codes: 0 done or yes, 1 refused or no, 2 not understood, 3 no such thing, 4 unreachable.

mod args;
mod cert;
mod check;
mod idp;
mod init;
mod output;
mod prompt;
mod server;
mod verbs;

#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::app::control::Exit;
use crate::config;
use crate::domain::Timestamp;
use crate::sys::{Clock as _, SystemClock};

use args::{Args, Top};
use output::Screen;

/// Why a command ended before it was carried out, and with which exit code.
#[derive(Debug)]
struct Stop {
    exit: u8,
    text: String,
}

impl Stop {
    fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage.code(), text: text.into() }
    }

    fn refused(text: impl Into<String>) -> Self {
        Self { exit: Exit::Refused.code(), text: text.into() }
    }

    fn unreachable(text: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable.code(), text: text.into() }
    }
}

/// Runs the program: the only place that looks at the environment of the process.
#[must_use]
pub fn main() -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            return ExitCode::from(Exit::Refused.code());
        }
    };
    let code = runtime.block_on(Box::pin(run(args, environment)));
    ExitCode::from(code)
}

/// What time it is.
fn now() -> Timestamp {
    SystemClock::default().now()
}

/// What a command line is carried out with.
struct Shell {
    screen: Screen,
    options: config::Options,
    yes: bool,
    show_link: bool,
}

async fn run(args: Args, environment: Vec<(String, String)>) -> u8 {
    let set = |name: &str| environment.iter().any(|(key, value)| key == name && !value.is_empty());
    let color = !set("NO_COLOR");
    let credentials = environment.iter().find(|(key, _)| key == "CREDENTIALS_DIRECTORY");
    let options = config::Options {
        file: args.config,
        credentials_directory: credentials.map(|(_, folder)| PathBuf::from(folder)),
        environment,
    };
    let screen = Screen {
        style: args.output,
        color_out: color && std::io::stdout().is_terminal(),
        color_err: color && std::io::stderr().is_terminal(),
    };
    let shell = Shell { screen, options, yes: args.yes, show_link: args.show_link };
    match dispatch(&shell, args.command).await {
        Ok(exit) => exit,
        Err(stop) => {
            output::complain(&stop.text);
            stop.exit
        }
    }
}

async fn dispatch(shell: &Shell, command: Top) -> Result<u8, Stop> {
    match command {
        Top::Cert(wanted) => cert::run(shell, &wanted),
        Top::Check(wanted) => Ok(check::run(shell, &wanted)),
        Top::Demo(wanted) => Box::pin(server::demo(wanted)).await,
        Top::Init(wanted) => init::run(shell, wanted),
        Top::Schema => {
            let text = serde_json::to_string_pretty(&config::schema()).unwrap_or_default();
            output::print(&format!("{text}\n"));
            Ok(0)
        }
        Top::Serve => Box::pin(server::serve(shell)).await,
        Top::Version => {
            output::print(&format!("cardea {}\n", env!("CARGO_PKG_VERSION")));
            Ok(0)
        }
        Top::Db(args::Database::Migrate) => Box::pin(server::migrate(shell)).await,
        other => Box::pin(verbs::run(shell, other)).await,
    }
}
