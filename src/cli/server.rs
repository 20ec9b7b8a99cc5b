//! Running the gateway, and what is done to a database before one runs.

use crate::app;
use crate::config;
use crate::demo;
use crate::store::Db;

use super::args::Demo;
use super::{Shell, Stop, output};

/// The configuration, or its faults on the error output.
pub(super) fn loaded(shell: &Shell) -> Result<config::Loaded, Stop> {
    match config::load(&shell.options, super::now()) {
        Ok(loaded) => Ok(loaded),
        Err(report) => Err(faulty(shell, &report)),
    }
}

/// The faults of a configuration on the error output.
pub(super) fn faulty(shell: &Shell, report: &config::Report) -> Stop {
    output::note(report.render(shell.screen.color_err).trim_end());
    Stop::usage("the configuration has errors")
}

pub(super) async fn serve(shell: &Shell) -> Result<u8, Stop> {
    let loaded = loaded(shell)?;
    match Box::pin(app::serve(loaded, shell.options.clone())).await {
        Ok(()) => Ok(0),
        Err(error) => Err(Stop::refused(format!("{error:#}"))),
    }
}

pub(super) async fn demo(wanted: Demo) -> Result<u8, Stop> {
    match Box::pin(demo::run(wanted.listen, wanted.keep, output::print)).await {
        Ok(()) => Ok(0),
        Err(error) => Err(Stop::refused(format!("{error:#}"))),
    }
}

/// Opening a database brings its tables up to date.
pub(super) async fn migrate(shell: &Shell) -> Result<u8, Stop> {
    let loaded = loaded(shell)?;
    let url = app::local::storage_url(&loaded.settings.storage.url);
    let words = url.words();
    match Db::open(&url).await {
        Ok(db) => {
            db.close().await;
            output::print(&format!("the tables are up to date ({words})\n"));
            Ok(0)
        }
        Err(error) => Err(Stop::unreachable(format!("{words}: {error}"))),
    }
}
