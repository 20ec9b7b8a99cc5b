//! Decisions for other proxies: nginx, Traefik, Caddy and Envoy ask here about a request before they forward it.
//!
//! The judgement is the one for requests that we forward ourselves, on the same snapshot. Two things are different, since
//! another program does the forwarding. We cannot write its request: so whatever does not stand in its one canonical form
//! is refused (F5, F13). And we cannot take away what the client wrote: so a yes names every field that carries identity,
//! empty where there is nothing to say, for the other to overwrite (F3).

mod grant;
mod original;

use std::net::IpAddr;

use http::StatusCode;

use crate::access::{Route, Snapshot};
use crate::domain::route::folded_name;
use crate::ui::{ErrorKind, headers};

use super::answers::{self, Answer, ErrorText, Reply, set, title};
use super::handler::{Refused, no_way, refuse, worked_on};
use super::meters::{Entry, Outcome};
use super::navigation::{Wish, wish};
use super::policy::{Known, Verdict, judge, who};
use super::view::{Asked, View};
use super::{Gate, own, upgrade};

use original::{Original, Unclear};

/// The most bytes of the address to come back to after signing in; a longer one leads to the app's first page.
const MOST_WAY_BACK: usize = 2048;

/// Who asks, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker<'a> {
    /// Traefik and Caddy: the request in fields. They hand any answer but a yes to their client.
    Fields,
    /// nginx: the request in fields. It takes 200, 401 and 403, and nothing of them but their fields.
    Nginx,
    /// nginx once more after a no, for what its client is to see.
    NginxRefused,
    /// Envoy: the request as it came, its path behind ours. It hands any answer but a yes to its client.
    Path(&'a str),
}

impl<'a> Asker<'a> {
    /// By the address it asks at. Only Envoy's has more behind it.
    fn at(target: &'a str) -> Option<Self> {
        if let Some(path) = target.strip_prefix("/forward-auth/envoy") {
            return path.starts_with('/').then_some(Asker::Path(path));
        }
        match target.split('?').next().unwrap_or_default() {
            "/forward-auth/nginx" => Some(Asker::Nginx),
            "/forward-auth/nginx/refused" => Some(Asker::NginxRefused),
            "/forward-auth/traefik" | "/forward-auth/caddy" => Some(Asker::Fields),
            _ => None,
        }
    }
}

/// Whether a peer may ask: this machine, and the proxies that are trusted. Whoever may learns who is behind a cookie, and
/// is believed what was asked and by whom.
pub(super) fn admitted(gate: &Gate, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || gate.trusted_proxies.iter().any(|net| net.contains(&peer))
}

/// Answers a question.
pub(super) async fn judged(gate: &Gate, entry: &mut Entry, view: View<'_>) -> Answer {
    if let Some(asker) = Asker::at(view.target) {
        told_as(asker, decided(gate, entry, asker, view).await)
    } else {
        entry.outcome = Outcome::NoRoute;
        nothing_here(gate, &entry.request_id, &view)
    }
}

fn nothing_here(gate: &Gate, request_id: &str, view: &View<'_>) -> Answer {
    let now = gate.clock.now();
    let reply = Reply { gate, wish: wish(view), request_id, now, portal: false, again: None };
    reply.error(&ErrorText {
        kind: ErrorKind::NotFound,
        code: "not-found",
        title: "There is nothing at this address",
        detail: Some("Proxies ask at /forward-auth/nginx, /traefik, /caddy or /envoy."),
        app: None,
    })
}

/// Every step in order, as for a request of our own; only the last says yes.
async fn decided(gate: &Gate, entry: &mut Entry, asker: Asker<'_>, view: View<'_>) -> Answer {
    let now = gate.clock.now();
    let request_id = entry.request_id;
    let mut reply =
        Reply { gate, wish: wish(&view), request_id: &request_id, now, portal: false, again: None };

    // What is asked, in one reading: the one that the guarding proxy forwards.
    let original = match Original::told(&view, asker) {
        Ok(original) => original,
        Err(unclear) => return not_clear(reply, entry, &unclear),
    };
    let view = original.view();
    reply.wish = wish(&view);
    let asked = match original.read(&gate.trusted_proxies) {
        Ok(asked) => asked,
        Err(unclear) => return not_clear(reply, entry, &unclear),
    };
    entry.asks_about(asked.view.method, asked.address, &asked.host, asked.target.path());
    entry.traced(&view);
    let again = asked.target.forwarded();
    reply.again = (reply.wish == Wish::Navigation).then_some(again.as_ref());

    // What is ours to answer, and not here.
    if asked.host == gate.portal.host || own::is_ours(asked.target.path()) {
        entry.outcome = Outcome::BadRequest;
        return not_here(reply, "own-path", "The proxy in front must pass this address to Cardea itself.");
    }

    // Who asks. This may have to wait for the database, so the rest is decided on what is in force after it.
    let known = who(gate, &asked, now).await;
    reply.now = gate.clock.now();
    let snapshot = gate.snapshot.load_full();
    entry.is_of(&known, snapshot.version, reply.now);

    // What a client calls itself by another spelling of a name of ours would stand beside ours.
    if let Some(name) = misspelt(&snapshot, &view) {
        return not_clear(reply, entry, &Unclear::Misspelt(name));
    }

    // Which app.
    let route = match snapshot.locate(&asked.host, &asked.target) {
        Ok(route) => route,
        Err(lost) => return no_way(reply, entry, lost),
    };
    entry.by(route.spec.name.as_str());
    if !route.spec.forward_auth {
        entry.outcome = Outcome::NoRoute;
        let detail = "The route of this address does not say forward_auth = true.";
        return not_here(reply, "not-guarded", detail);
    }

    if let Some(words) = &route.spec.maintenance {
        return worked_on(reply, entry, words);
    }

    // On whose behalf: browsers send cookies along whoever opens a WebSocket.
    if upgrade::from_elsewhere(&view, route) {
        entry.outcome = Outcome::Denied;
        entry.because(upgrade::Refused::Origin.to_string());
        return upgrade::Refused::Origin.answer(reply);
    }

    // Whether they may.
    let verdict = judge(&snapshot, route, &known, &asked, reply.now);
    entry.decided();
    match verdict {
        Verdict::Pass(passage) => {
            entry.rule = Some(passage.rule());
            match grant::yes(reply, &passage, &snapshot, &asked) {
                Ok(answer) => {
                    entry.outcome =
                        if passage.record().is_some() { Outcome::Allowed } else { Outcome::Public };
                    answer
                }
                Err(refused) => {
                    tracing::error!(error = %refused, route.id = %route.spec.name, "somebody who may pass cannot be told apart");
                    entry.outcome = Outcome::Unavailable;
                    reply.unavailable()
                }
            }
        }
        Verdict::Ambiguous(lost) => no_way(reply, entry, lost),
        Verdict::Deny(denial) => {
            entry.outcome = Outcome::Denied;
            // Asked a second time about one request: it is written down already.
            let told = view.single("cardea-decision").filter(|_| asker == Asker::NginxRefused);
            let (record, asked, denial) = (known.record(), &asked, &denial);
            let refused = Refused { snapshot: &snapshot, route, record, asked, denial, told };
            let answer = refuse(reply, &refused);
            entry.refused(denial.code, &answer);
            answer
        }
        Verdict::SignIn { .. } => {
            entry.outcome = Outcome::SignIn;
            prompt(reply, &asked, route, &known, "sign-in")
        }
        Verdict::StepUp(_) => {
            entry.outcome = Outcome::StepUp;
            prompt(reply, &asked, route, &known, "step-up")
        }
        Verdict::Unavailable => {
            entry.outcome = Outcome::Unavailable;
            reply.unavailable()
        }
    }
}

/// Sends a navigation to sign in, by way of our own path on the app's host; anything else is told. What must be proven is
/// asked of the policy once more on that way.
fn prompt(reply: Reply<'_>, asked: &Asked<'_>, route: &Route, known: &Known, code: &str) -> Answer {
    if reply.wish != Wish::Navigation {
        return reply.unauthorized(&route.origin, code, title(route, known.record()));
    }
    let mut way = own::start_again(Some(&asked.target.forwarded()));
    if way.len() > MOST_WAY_BACK {
        way = own::start_again(Some(&format!("{}/", route.spec.prefix)));
    }
    reply.redirect(StatusCode::FOUND, &format!("{}{way}", route.origin))
}

/// A field that programs may take for one that carries identity, and that the guarding proxy does not overwrite with it:
/// `Cardea_User`, `Cardea--User` (`PROXY-05`). Those that it does overwrite may stand there.
fn misspelt(snapshot: &Snapshot, view: &View<'_>) -> Option<String> {
    view.fields.iter().find_map(|(name, _)| {
        let folded = folded_name(name);
        let other = snapshot.manages(&folded)
            && snapshot.carries_identity().any(|known| {
                folded_name(known.as_bytes()) == folded && !known.as_bytes().eq_ignore_ascii_case(name)
            });
        other.then_some(folded)
    })
}

/// A question that does not say one thing. Nothing is allowed by it.
fn not_clear(reply: Reply<'_>, entry: &mut Entry, unclear: &Unclear) -> Answer {
    entry.outcome = Outcome::BadRequest;
    entry.because(unclear.to_string());
    if let Unclear::Field(name) = unclear {
        // The operator's to mend, or somebody's attempt who can reach this listener.
        tracing::warn!(field = name, "a proxy asked without saying once and plainly what about");
    }
    let detail = unclear.to_string();
    let title = "The request cannot be read in one way";
    let kind = ErrorKind::BadRequest;
    reply.error(&ErrorText { kind, code: "bad-request", title, detail: Some(&detail), app: None })
}

/// A question about what is not decided here.
fn not_here(reply: Reply<'_>, code: &str, detail: &str) -> Answer {
    tracing::warn!(code, detail, "a proxy asked about something that is not decided for it");
    let (kind, title) = (ErrorKind::NoSuchApp, "This address is not decided on here");
    reply.error(&ErrorText { kind, code, title, detail: Some(detail), app: None })
}

/// The answer as the asker takes it.
fn told_as(asker: Asker<'_>, full: Answer) -> Answer {
    match asker {
        Asker::Nginx => bare(full),
        // What this says goes to the client, who must not have what a yes says. Since nginx was told no, or could not
        // take the yes, trying again is all there is to do.
        Asker::NginxRefused if full.status() == StatusCode::OK => {
            let mut answer = answers::answer(503, "", &headers::DATA);
            set(&mut answer, headers::NO_STORE.0, headers::NO_STORE.1);
            set(&mut answer, "retry-after", "1");
            answer
        }
        Asker::Fields | Asker::NginxRefused | Asker::Path(_) => full,
    }
}

/// What nginx understands: 200, 401, 403. Any other status is an error to it, which is right for 503.
fn bare(full: Answer) -> Answer {
    let status = match full.status().as_u16() {
        200 => return full,
        302 | 401 => 401,
        503 => 503,
        _ => 403,
    };
    let mut bare = answers::answer(status, "", &headers::DATA);
    set(&mut bare, headers::NO_STORE.0, headers::NO_STORE.1);
    for name in ["cardea-decision", "retry-after", "www-authenticate"] {
        if let Some(value) = full.headers().get(name) {
            bare.headers_mut().insert(name, value.clone());
        }
    }
    bare
}
