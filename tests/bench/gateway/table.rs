//! What was measured, as tables of ratios.

use std::fmt::Write as _;

use super::load::Seen;
use super::machine::Cpu;

/// One round of one target in one cell.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) seen: Seen,
    pub(crate) cpu: Cpu,
    /// How long it took, in seconds.
    pub(crate) wall: f64,
    /// Cores that nobody of ours used.
    pub(crate) others: f64,
}

impl Round {
    fn micros(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.seen.requests
    }
}

/// All rounds of one target in one cell.
pub(crate) struct Row {
    pub(crate) target: String,
    pub(crate) rounds: Vec<Round>,
}

impl Row {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        middle(self.rounds.iter().map(of).collect())
    }

    fn best(&self, of: impl Fn(&Round) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::INFINITY, f64::min)
    }
}

/// The median.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2), values.get(half));
    f64::midpoint(low.copied().unwrap_or(f64::NAN), high.copied().unwrap_or(f64::NAN))
}

/// More of the machine than this was somebody else's: figures to be taken with care.
const NOISY: f64 = 0.1;

/// The table of a cell. The first row is what the others are compared with.
pub(crate) fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "\n### {title}\n\n\
         | target | CPU µs/request, median | best | × nginx | best × | user | kernel | requests/s | × nginx | p50 ms | p99 ms | core busy |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    let total = |round: &Round| round.micros(round.cpu.total());
    let rate = |round: &Round| round.seen.per_second;
    for row in rows {
        let first = rows.first().unwrap_or(row);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | **{:.2}** | {:.2} | {:.1} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            row.target,
            row.median(total),
            row.best(total),
            row.median(total) / first.median(total),
            row.best(total) / first.best(total),
            row.median(|round| round.micros(round.cpu.user)),
            row.median(|round| round.micros(round.cpu.kernel)),
            row.median(rate),
            row.median(rate) / first.median(rate),
            row.median(|round| round.seen.p50),
            row.median(|round| round.seen.p99),
            row.median(|round| round.cpu.total() / round.wall),
        );
    }
    let others: Vec<f64> = rows.iter().flat_map(|row| row.rounds.iter().map(|round| round.others)).collect();
    let most = others.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(text, "\nOthers used {:.2} cores in the middle, {most:.2} at most.", middle(others));
    if most > NOISY {
        text.push_str(
            "**The machine was not quiet: only the ratios of CPU, and of them the best, mean something.**\n",
        );
    }
    text
}
