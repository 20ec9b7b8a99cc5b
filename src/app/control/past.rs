//! A request that was made, and why it came out as it did: what was noted of it, and the decision made once more from the same
//! facts.

use serde_json::json;

use crate::access::explain::{Explanation, explain};
use crate::access::{Request, Snapshot};
use crate::domain::target::Target;
use crate::proxy::Past;
use crate::session::Record;

use super::answer::{Answer, Exit};

/// Tells it to an operator.
pub(super) fn told(snapshot: &Snapshot, past: &Past) -> Answer {
    let record = past.record.as_deref();
    let principal = record.map(|record| &record.principal);
    let found = again(snapshot, past);
    let same = snapshot.version == past.version;
    let json = json!({
        "request": past.request_id,
        "at": past.at.to_string(),
        "client": past.client,
        "protocol": past.protocol,
        "method": past.method,
        "host": past.host,
        "path": shown(past),
        "route": past.route,
        "outcome": past.outcome,
        "let_in": past.let_in,
        "status": past.status,
        "rule": past.rule,
        "upstream": past.upstream,
        "decision": past.decision,
        "reason": past.reason,
        "user": principal.map(|who| json!({ "id": who.user.to_string(), "username": who.username.as_str() })),
        "session": record.map(|record| record.id.to_string()),
        "policy_changed_since": past.version > 0 && !same,
        "explanation": found,
    });
    let mut lines = vec![
        format!("{}   {} {}", past.outcome.to_uppercase(), past.status, past.request_id),
        format!("  asked      {} {}{}, {}", past.method, past.host, shown(past), past.protocol),
        format!("  from       {}", past.client),
        format!("  who        {}", who(record)),
        format!(
            "  route      {}{}",
            past.route,
            past.rule.map_or_else(String::new, |rule| format!(", rule {rule}"))
        ),
    ];
    if past.version > 0 {
        lines.insert(1, format!("  when       {}", past.at));
    }
    let more = [("upstream", &past.upstream), ("decision", &past.decision)];
    lines.extend(
        more.into_iter().filter_map(|(name, value)| Some(format!("  {name:<10} {}", value.as_ref()?))),
    );
    lines.extend(past.reason.as_ref().map(|reason| format!("  {:<10} {reason}", "reason")));
    if let Some(found) = &found {
        lines.push(
            if same {
                "From the same facts, under the same policy:"
            } else {
                "The policy has changed since. Under the present one:"
            }
            .to_owned(),
        );
        lines.push(found.to_string().trim_end().to_owned());
    }
    let mut answer = Answer::about(lines.join("\n"), json);
    if !past.let_in {
        answer.exit = Exit::Refused;
    }
    answer
}

/// The path as the log has it.
fn shown(past: &Past) -> String {
    crate::proxy::without_secrets(&past.path)
}

fn who(record: Option<&Record>) -> String {
    record.map_or_else(
        || "nobody who is signed in".to_owned(),
        |record| format!("{} ({}), session {}", record.principal.username, record.principal.user, record.id),
    )
}

/// The decision, made once more. `None` where none was made: what could not be read, and what Cardea answers itself.
fn again(snapshot: &Snapshot, past: &Past) -> Option<Explanation> {
    if past.version == 0 {
        return None;
    }
    let target = Target::parse(&past.path).ok()?;
    let route = snapshot.locate(&past.host, &target).ok()?;
    let request = Request { target: &target, method: &past.method, address: past.client, now: past.at };
    Some(explain(snapshot, route, past.record.as_deref().map(Record::caller), &request))
}
