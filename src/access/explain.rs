//! Why: the same evaluation, with every clause written down.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::engine::{Caller, Decision, Request, Witness, evaluate};
use super::remedy::remedies;
use super::snapshot::{Route, Snapshot};

/// How a clause came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It refuses.
    Failed,
    /// It holds.
    Holds,
    /// It would ask the person for a proof.
    Prompts,
    /// It depends on what was not said.
    Unknown,
}

impl Mark {
    pub(super) const fn of(holds: bool) -> Self {
        if holds { Mark::Holds } else { Mark::Failed }
    }
    pub(super) const fn prompt(holds: bool) -> Self {
        if holds { Mark::Holds } else { Mark::Prompts }
    }
}

/// One clause of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// `rule`, `tenant`, `deny`, `allow`, `needs`, `require`.
    pub kind: String,
    /// How it came out.
    pub mark: Mark,
    /// In words, for an administrator.
    pub words: String,
    /// In words for the person, where the clause is about them and about nobody else. Never kept.
    #[serde(skip)]
    pub told: Option<Told>,
}

/// What a person reads of a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// A sentence.
    pub text: String,
    /// What they have instead.
    pub detail: Option<String>,
}

impl Clause {
    pub(super) fn new(kind: &'static str, mark: Mark, words: String) -> Self {
        Self { kind: kind.to_owned(), mark, words, told: None }
    }

    /// The same with a sentence for the person.
    pub(super) fn told(self, text: impl Into<String>) -> Self {
        Self { told: Some(Told { text: text.into(), detail: None }), ..self }
    }

    /// The same with what the person has instead.
    pub(super) fn instead(mut self, detail: Option<String>) -> Self {
        if let Some(told) = &mut self.told {
            told.detail = detail;
        }
        self
    }
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// `allow`, `deny`, `sign-in`, `step-up`, `bad-request`, `unknown` where it depends on what was not said, or `maintenance`
    /// where nobody is let in for now.
    pub verdict: String,
    /// What it would be but for the maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// The reason's stable word, if it is a denial.
    pub code: Option<String>,
    /// What the person reads, if it is a denial.
    pub plain: Option<String>,
    /// Which route.
    pub route: String,
    /// Which rule, counted from one, and where it is written.
    pub rule: Option<(usize, String)>,
    /// Every clause.
    pub clauses: Vec<Clause>,
    /// What would let the person in.
    pub remedies: Vec<String>,
}

impl Explanation {
    /// The clauses that the person may read, each with whether it holds. Whoever is no member, is stopped, or has been
    /// excluded learns that alone, and nothing of what the app asks besides.
    pub fn told(&self) -> impl Iterator<Item = (bool, &Told)> {
        let shut = |clause: &&Clause| {
            clause.mark == Mark::Failed && matches!(clause.kind.as_str(), "account" | "tenant" | "deny")
        };
        let only = self.clauses.iter().find(shut);
        self.clauses
            .iter()
            .filter(move |clause| only.is_none_or(|only| std::ptr::eq(only, *clause)))
            .filter_map(|clause| Some((clause.mark != Mark::Failed, clause.told.as_ref()?)))
    }
}

struct Notes {
    clauses: Vec<Clause>,
    /// Whether the address of the request is one, and not a stand-in.
    placed: bool,
}

impl Witness for Notes {
    const ALL: bool = true;
    fn note(&mut self, clause: impl FnOnce() -> Clause) {
        self.clauses.push(clause());
    }
    fn placed(&self) -> bool {
        self.placed
    }
}

/// Decides, and says why.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    route: &Route,
    caller: Option<Caller<'_>>,
    request: &Request<'_>,
) -> Explanation {
    foresee(snapshot, route, caller, request, true)
}

/// The same for a request that nobody has made yet. Where it is not `placed`, its address is a stand-in: what depends on the
/// address is unknown.
#[must_use]
pub fn foresee(
    snapshot: &Snapshot,
    route: &Route,
    caller: Option<Caller<'_>>,
    request: &Request<'_>,
    placed: bool,
) -> Explanation {
    let mut notes = Notes { clauses: Vec::new(), placed };
    notes.clauses.push(Clause::new(
        "route",
        Mark::Holds,
        format!("host {}, route {}", route.spec.host, route.spec.name),
    ));
    if let Some(words) = &route.spec.maintenance {
        let words = format!("everybody is answered 503: {words}");
        notes.clauses.push(Clause::new("maintenance", Mark::Failed, words));
    }
    let decision = evaluate(snapshot, route, caller, request, &mut notes);
    let rule = route.rule(request.target, request.method).ok().flatten();
    let about_them = || notes.clauses.iter().filter(|clause| clause.kind != "maintenance");
    let marked = |mark: Mark| about_them().any(|clause| clause.mark == mark);
    let (verdict, denial) = match &decision {
        Decision::Ambiguous(_) => ("bad-request", None),
        Decision::Deny(_) if marked(Mark::Unknown) && !marked(Mark::Failed) => ("unknown", None),
        Decision::Deny(denial) => ("deny", Some(denial.clone())),
        Decision::Permit(_) => ("allow", None),
        Decision::SignIn { .. } => ("sign-in", None),
        Decision::StepUp(_) => ("step-up", None),
    };
    let remedies = match (&denial, rule, caller) {
        (Some(_), Some((_, rule)), Some(caller)) => remedies(snapshot, route, rule, caller, &notes.clauses),
        _ => Vec::new(),
    };
    let (verdict, otherwise) = match &route.spec.maintenance {
        Some(_) => ("maintenance", Some(verdict.to_owned())),
        None => (verdict, None),
    };
    Explanation {
        verdict: verdict.to_owned(),
        otherwise,
        code: denial.as_ref().map(|denial| denial.code.to_owned()),
        plain: denial.map(|denial| denial.plain),
        route: route.spec.name.to_string(),
        rule: rule.map(|(index, rule)| (index + 1, rule.source.clone())),
        clauses: notes.clauses,
        remedies,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |verdict: &str| match verdict {
            "allow" => "ALLOWED",
            "deny" => "DENIED",
            "maintenance" => "NOT NOW, THE APP IS BEING WORKED ON",
            "sign-in" => "SIGN-IN ASKED",
            "step-up" => "SECOND FACTOR ASKED",
            "unknown" => "UNKNOWN",
            _ => "REFUSED AS AMBIGUOUS",
        };
        let otherwise = self.otherwise.as_deref().map(words);
        let verdict = match otherwise {
            Some(otherwise) => format!("{} (otherwise: {otherwise})", words(&self.verdict)),
            None => words(&self.verdict).to_owned(),
        };
        match &self.rule {
            Some((rule, source)) => {
                writeln!(f, "{verdict}   rule {rule} of route \"{}\" ({source})", self.route)?;
            }
            None => writeln!(f, "{verdict}   route \"{}\"", self.route)?,
        }
        for clause in &self.clauses {
            let mark = match clause.mark {
                Mark::Failed => '✗',
                Mark::Holds => '✓',
                Mark::Prompts => '–',
                Mark::Unknown => '?',
            };
            writeln!(f, "  {mark} {:<11} {}", clause.kind, clause.words)?;
        }
        for (at, remedy) in self.remedies.iter().enumerate() {
            writeln!(f, "{} {remedy}", if at == 0 { "To allow:" } else { "     and:" })?;
        }
        Ok(())
    }
}
