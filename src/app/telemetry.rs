//! Logs: one line per event, as JSON for machines or as text for people. To standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins to log. A second call changes nothing.
pub fn start(level: &str, json: bool) {
    // Drivers log statements with their parameters on lower levels: never let them.
    let filter = EnvFilter::try_new(format!("{level},sqlx=error,hyper=warn,h2=warn"))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        let color = std::io::stderr().is_terminal();
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(color)
                    .with_target(false)
                    .with_writer(std::io::stderr),
            )
            .try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
