//! `cardea check`: what is wrong with the configuration, and what to do about it.

use crate::config;

use super::Shell;
use super::args::{Check, Format};
use super::output::{self, Style};

/// Prints the report: 0 fine, 1 warnings with `--strict`, 2 errors.
pub(super) fn run(shell: &Shell, wanted: &Check) -> u8 {
    let outcome = config::load(&shell.options, super::now());
    let (report, summary) = match &outcome {
        Ok(loaded) => (&loaded.report, Some(loaded.summary())),
        Err(report) => (report, None),
    };
    let json =
        wanted.format == Some(Format::Json) || (wanted.format.is_none() && shell.screen.style == Style::Json);
    if json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&report.json()).unwrap_or_default()));
    } else {
        output::print(&report.render(shell.screen.color_out));
        let counts = report.counts();
        output::print(&match summary {
            Some(summary) => format!("{summary} · {counts}\n"),
            None => format!("{counts}\n"),
        });
    }
    match (&outcome, report.counts().warnings) {
        (Err(_), _) => 2,
        (Ok(_), 0) => 0,
        (Ok(_), _) => u8::from(wanted.strict),
    }
}
