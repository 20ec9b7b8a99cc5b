//! What browsers are shown over TLS: said at the start, and watched while it is shown.
//!
//! A certificate that has run out is still shown: its hosts are lost to browsers either way, and those of the others are not.

use std::sync::Arc;
use std::time::Duration;

use crate::crypto::certificate::Identity;
use crate::domain::{Span, Timestamp};
use crate::net::Front;
use crate::sys::Clock;

/// How long before its end a certificate is spoken of.
const SOON: Span = Span::hours(14 * 24);
/// How often it is looked whether one has run out, and how often the same is said again.
const LOOK_EVERY: Duration = Duration::from_mins(1);
const SAY_EVERY: Span = Span::hours(24);

/// Says what is shown, and counts the time that is left.
pub(super) fn say(identities: &[Arc<Identity>], now: Timestamp) {
    for identity in identities {
        let (names, until) = (identity.names().join(", "), identity.not_after().words());
        match identity.in_force(now) {
            Ok(()) => tracing::info!(%names, %until, "a certificate is shown"),
            Err(bad) => complain(identity, &bad),
        }
        let first = identity.names().first().cloned().unwrap_or_default();
        // Seconds since 1970 are exact in there for a long time.
        let until = Duration::from_millis(u64::try_from(identity.not_after().millis()).unwrap_or_default());
        metrics::gauge!("cardea_certificate_not_after_seconds", "name" => first).set(until.as_secs_f64());
    }
}

fn complain(identity: &Identity, bad: &dyn std::fmt::Display) {
    tracing::error!(
        names = %identity.names().join(", "),
        "{bad}; it is shown all the same, and browsers refuse these hosts until its files are replaced"
    );
}

/// Why these should not take the place of what is shown: one among them is new and not in force. What is shown already may stay,
/// so that everything else in the configuration can change.
pub(super) fn worse(shown: &[Arc<Identity>], new: &[Arc<Identity>], now: Timestamp) -> Option<String> {
    let mut arrived = new.iter().filter(|identity| !shown.contains(identity));
    arrived.find_map(|identity| {
        let bad = identity.in_force(now).err()?;
        Some(format!("{}: {bad}", identity.names().join(", ")))
    })
}

/// In words, for whoever asks how the server does: `2`, or `2, 1 of them not in force`; and a line for each that needs work.
pub(super) fn words(identities: &[Arc<Identity>], now: Timestamp) -> (String, Vec<String>) {
    let notes: Vec<String> = identities.iter().filter_map(|identity| note(identity, now)).collect();
    let over = identities.iter().filter(|identity| identity.in_force(now).is_err()).count();
    let words = match over {
        0 => identities.len().to_string(),
        over => format!("{}, {over} of them not in force", identities.len()),
    };
    (words, notes)
}

fn note(identity: &Identity, now: Timestamp) -> Option<String> {
    let names = identity.names().join(", ");
    match identity.in_force(now) {
        Err(bad) => Some(format!("{names}: {bad}")),
        Ok(()) if now.until(identity.not_after()) < SOON => {
            Some(format!("{names}: the certificate runs out on {}", identity.not_after().words()))
        }
        Ok(()) => None,
    }
}

/// Speaks of certificates that run out while they are shown, once a day each.
pub(super) async fn watch(front: Arc<Front>, clock: Arc<dyn Clock>) {
    // What the start has said is not said again.
    let mut said = front.identities().into_iter().map(|identity| (identity, clock.now())).collect::<Vec<_>>();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = clock.now();
        for identity in due(&mut said, &front.identities(), now) {
            let names = identity.names().join(", ");
            if let Err(bad) = identity.in_force(now) {
                complain(&identity, &bad);
            } else {
                tracing::warn!(%names, "the certificate runs out on {}", identity.not_after().words());
            }
        }
    }
}

/// Those that need work and were not spoken of today; one that has run out since is spoken of at once.
fn due(
    said: &mut Vec<(Arc<Identity>, Timestamp)>,
    shown: &[Arc<Identity>],
    now: Timestamp,
) -> Vec<Arc<Identity>> {
    said.retain(|(identity, _)| shown.contains(identity));
    let mut due = Vec::new();
    for identity in shown.iter().filter(|identity| note(identity, now).is_some()) {
        match said.iter_mut().find(|(known, _)| known == identity) {
            Some((_, at))
                if now.since(*at) < SAY_EVERY && identity.in_force(*at) == identity.in_force(now) => {}
            Some((_, at)) => {
                *at = now;
                due.push(Arc::clone(identity));
            }
            None => {
                said.push((Arc::clone(identity), now));
                due.push(Arc::clone(identity));
            }
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::certificate::Purpose;
    use crate::crypto::development;

    #[test]
    fn one_that_runs_out_is_spoken_of_once_a_day_and_at_its_end() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        let authority = development::authority(start).unwrap();
        let minted = development::issue(&authority, &["a.example".to_owned()], start).unwrap();
        let identity =
            Identity::parse(minted.certificate.as_bytes(), minted.key.expose().as_bytes(), Purpose::Server);
        let shown = [Arc::new(identity.unwrap())];
        let end = shown[0].not_after();
        let mut said = vec![(Arc::clone(&shown[0]), start)];
        let mut at = |now| due(&mut said, &shown, now).len();
        assert_eq!(at(start + Span::hours(1)), 0);
        let near = Timestamp::from_millis(end.millis() - Span::hours(100).as_millis());
        assert_eq!((at(near), at(near + Span::hours(23)), at(near + Span::hours(24))), (1, 0, 1));
        let last = Timestamp::from_millis(end.millis() - 1000);
        assert_eq!((at(last), at(last + Span::seconds(1)), at(last + Span::seconds(61))), (1, 1, 0));
        assert_eq!(words(&shown, start), ("1".to_owned(), Vec::new()));
        let (words, notes) = words(&shown, end);
        assert_eq!(words, "1, 1 of them not in force");
        assert!(notes[0].starts_with("a.example: the certificate ran out on "), "{notes:?}");
    }
}
