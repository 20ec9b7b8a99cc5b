//! Why: the same evaluation, with every clause written down.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::engine::{Caller, Decision, Request, Witness, evaluate};
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
    /// `allow`, `deny`, `sign-in`, `step-up` or `bad-request`.
    pub verdict: String,
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

struct Notes(Vec<Clause>);

impl Witness for Notes {
    const ALL: bool = true;
    fn note(&mut self, clause: impl FnOnce() -> Clause) {
        self.0.push(clause());
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
    let mut notes = Notes(Vec::new());
    notes.0.push(Clause::new(
        "route",
        Mark::Holds,
        format!("host {}, route {}", route.spec.host, route.spec.name),
    ));
    let decision = evaluate(snapshot, route, caller, request, &mut notes);
    let rule = route.rule(request.target, request.method).ok().flatten();
    let (verdict, denial) = match &decision {
        Decision::Ambiguous(_) => ("bad-request", None),
        Decision::Deny(denial) => ("deny", Some(denial.clone())),
        Decision::Permit(_) => ("allow", None),
        Decision::SignIn { .. } => ("sign-in", None),
        Decision::StepUp(_) => ("step-up", None),
    };
    let mut remedies = Vec::new();
    if let (Some(denial), Some((_, rule))) = (&denial, rule)
        && denial.code == "needs"
        && let Some(need) = &rule.needs
    {
        let mut roles: Vec<&str> = snapshot
            .roles()
            .filter(|role| role.tenant.is_none() || role.tenant == route.tenant)
            .filter(|role| role.permissions.iter().any(|pattern| pattern.allows(&need.permission)))
            .map(|role| role.slug.as_str())
            .collect();
        roles.sort_unstable();
        let at = need.at.map_or_else(String::new, |place| snapshot.place_words(place));
        if roles.is_empty() {
            remedies.push(format!("no role has {}; add it to one", need.permission));
        } else {
            let who = caller.map_or("USER", |caller| caller.principal.username.as_str());
            let first = roles.first().copied().unwrap_or_default();
            remedies.push(format!(
                "grant a role with {} at {at} (candidates: {}): cardea role grant {first} {who} --at {at}",
                need.permission,
                roles.join(", ")
            ));
        }
    }
    Explanation {
        verdict: verdict.to_owned(),
        code: denial.as_ref().map(|denial| denial.code.to_owned()),
        plain: denial.map(|denial| denial.plain),
        route: route.spec.name.to_string(),
        rule: rule.map(|(index, rule)| (index + 1, rule.source.clone())),
        clauses: notes.0,
        remedies,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict.as_str() {
            "allow" => "ALLOWED",
            "deny" => "DENIED",
            "sign-in" => "SIGN-IN ASKED",
            "step-up" => "SECOND FACTOR ASKED",
            _ => "REFUSED AS AMBIGUOUS",
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
            };
            writeln!(f, "  {mark} {:<9} {}", clause.kind, clause.words)?;
        }
        for remedy in &self.remedies {
            writeln!(f, "To allow: {remedy}")?;
        }
        Ok(())
    }
}
