//! Failed tries: counted before they are looked at, over all nodes, so that a hundred at once count as a hundred.
//!
//! Passwords: per account and source with a doubling delay, per source over all accounts, and per account over all sources
//! an hourly bound that spares sources the person has signed in from, so that nobody can lock a colleague out. Second
//! factors: five tries in a quarter of an hour per person, whatever the way. Sign-ins at providers: nothing is guessed there, so
//! only failures count, per provider and source; many people behind one address may come at once.

use std::net::IpAddr;

use super::{SignIn, SignInError};
use crate::domain::{Actor, AuditEvent, Outcome, Slug, Span, Timestamp, UserId};
use crate::session::Visit;
use crate::store::throttles::{self, Counter};
use crate::store::{Db, DbError, Tx, audit};

/// How a counter behaves.
#[derive(Clone, Copy)]
struct Bound {
    /// So many tries are free.
    free: i64,
    /// Counting begins anew after so long.
    window: Span,
    /// What comes after the free ones.
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    /// Wait, twice as long each time, up to a limit.
    Double(Span, Span),
    /// Wait a whole window from the last try on. Every try begins the window anew, so that no stretch of that length, wherever
    /// it begins, has more than the free ones in it.
    Quiet,
    /// Wait until the window ends.
    Window,
}

/// A try that has been counted, to be uncounted if it succeeds: on which counters, and until when each is blocked by it.
pub(super) struct Counted(Vec<(String, Timestamp)>);

/// Whom a try is about.
pub(super) enum About {
    /// Somebody who exists.
    Account(UserId),
    /// A name that nobody has, as a tag.
    Nobody(String),
}

impl About {
    fn key(&self) -> String {
        match self {
            About::Account(user) => user.to_string(),
            About::Nobody(tag) => format!("name-{tag}"),
        }
    }
}

/// The source of a try: the address, of IPv6 the first half, since a household has the second to itself.
pub(super) fn source(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::")
        }
    }
}

impl SignIn {
    /// Counts a password try, or says how long to wait. `None`: stopped by tries that were made under another name of the
    /// account. To say so would tell that both names are one person's, so the caller answers as to an unknown name. `refused`
    /// is the record of a try that must wait.
    pub(super) async fn count_password(
        &self,
        about: &About,
        typed: Option<&str>,
        refused: AuditEvent,
        visit: &Visit<'_>,
    ) -> Result<Option<Counted>, SignInError> {
        let from = source(visit.address);
        let key = about.key();
        // One query either way.
        let whom = match about {
            About::Account(user) => *user,
            About::Nobody(_) => UserId::mint(visit.now, visit.chance),
        };
        let known = throttles::known(&mut self.db.read().await?, whom, &from).await?;
        let doubling = Then::Double(self.settings.lockout_delay, self.settings.lockout_limit);
        let per_source = Bound { free: self.settings.lockout_after, window: Span::hours(24), then: doubling };
        let mut open =
            vec![(format!("address:{from}"), Bound { free: 100, window: Span::hours(1), then: doubling })];
        if let Some(typed) = typed {
            open.push((format!("text:{}:{from}", self.keys.web.name_tag(typed)), per_source));
        }
        let mut hidden = vec![(format!("pair:{key}:{from}"), per_source)];
        if !known {
            hidden.push((
                format!("account:{key}"),
                Bound { free: 100, window: Span::hours(1), then: Then::Window },
            ));
        }
        let first = count(&self.db, &open, &refused, visit).await?;
        match count(&self.db, &hidden, &refused, visit).await {
            Ok(second) => Ok(Some(first.and(second))),
            Err(SignInError::Throttled(_)) if typed.is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says how long a source must wait whose sign-ins at a provider have failed too often.
    pub(super) async fn may_come_from(
        &self,
        provider: &Slug,
        from: &str,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        let subject = federated_subject(provider, from);
        let Some(counter) = throttles::read(&mut self.db.read().await?, &subject).await? else {
            return Ok(());
        };
        let wait = visit.now.until(counter.blocked_until);
        if wait <= Span::ZERO {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        record_block(&mut tx, &subject, counter.blocked_until, &federated(provider, visit), visit).await?;
        tx.commit(visit.now).await?;
        Err(SignInError::Throttled(wait))
    }

    /// Counts a sign-in at a provider that has failed, against the source that began it: any page can have a browser bring an
    /// answer.
    pub(super) async fn count_federated(
        &self,
        provider: &Slug,
        from: &str,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        let doubling = Then::Double(self.settings.lockout_delay, self.settings.lockout_limit);
        let free = self.settings.federated_failures;
        let bound = Bound { free, window: Span::hours(1), then: doubling };
        let bounds = [(federated_subject(provider, from), bound)];
        match count(&self.db, &bounds, &federated(provider, visit), visit).await {
            // Others of the source that began before it had to wait.
            Ok(_) | Err(SignInError::Throttled(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Counts a try at a second factor, or says how long to wait. A new password sign-in does not reset it.
    pub(super) async fn count_factor(
        &self,
        user: UserId,
        action: &'static str,
        visit: &Visit<'_>,
    ) -> Result<Counted, SignInError> {
        let bound = Bound { free: 5, window: Span::minutes(15), then: Then::Quiet };
        let refused = AuditEvent::new(Actor::User(user), action, Outcome::Refused)
            .on("user", user)
            .from(Some(visit.address));
        count(&self.db, &[(format!("factor:{user}"), bound)], &refused, visit).await
    }
}

/// A sign-in at a provider that must wait, for the audit log.
fn federated(provider: &Slug, visit: &Visit<'_>) -> AuditEvent {
    AuditEvent::new(Actor::Anonymous, "signin.federated", Outcome::Refused)
        .on("provider", provider)
        .from(Some(visit.address))
}

fn federated_subject(provider: &Slug, from: &str) -> String {
    format!("federated:{provider}:{from}")
}

async fn count(
    db: &Db,
    bounds: &[(String, Bound)],
    refused: &AuditEvent,
    visit: &Visit<'_>,
) -> Result<Counted, SignInError> {
    let now = visit.now;
    let mut tx = db.begin().await?;
    let mut wait = Span::ZERO;
    let mut counters = Vec::new();
    // Always in the same order, so that two tries do not wait for each other.
    for (subject, bound) in bounds {
        let mut counter = throttles::hold(&mut tx, subject, now).await?;
        if now.since(counter.since) >= bound.window {
            counter = Counter { failures: 0, since: now, blocked_until: counter.blocked_until };
        }
        wait = wait.max(now.until(counter.blocked_until));
        counters.push((subject, bound, counter));
    }
    if wait > Span::ZERO {
        // Refused unseen: not counted either, so that knocking does not lengthen the wait.
        let longest = counters.iter().max_by_key(|(_, _, counter)| counter.blocked_until);
        if let Some((subject, _, counter)) = longest {
            record_block(&mut tx, subject, counter.blocked_until, refused, visit).await?;
        }
        tx.commit(now).await?;
        return Err(SignInError::Throttled(wait));
    }
    let mut counted = Vec::new();
    for (subject, bound, mut counter) in counters {
        counter.failures += 1;
        let over = counter.failures - bound.free;
        if matches!(bound.then, Then::Quiet) {
            counter.since = now;
        }
        if over >= 0 {
            counter.blocked_until = match bound.then {
                Then::Double(delay, limit) => now + (0..over).fold(delay, |delay, _| delay.doubled(limit)),
                Then::Quiet => now + bound.window,
                Then::Window => counter.since + bound.window,
            };
        }
        throttles::write(&mut tx, subject, counter).await?;
        counted.push((subject.clone(), counter.blocked_until));
    }
    tx.commit(now).await?;
    Ok(Counted(counted))
}

/// Records the first try that a block turns away, and none of the others: whoever knocks a million times fills no log.
async fn record_block(
    tx: &mut Tx,
    subject: &str,
    until: Timestamp,
    refused: &AuditEvent,
    visit: &Visit<'_>,
) -> Result<(), DbError> {
    let told = format!("told:{subject}");
    let last = throttles::hold(tx, &told, visit.now).await?;
    if last.blocked_until == until {
        return Ok(());
    }
    let mark = Counter { failures: 0, since: visit.now, blocked_until: until };
    throttles::write(tx, &told, mark).await?;
    let event = refused.clone().with("why", "too many tries").with("until", until);
    audit::write(tx, &event, visit.now, visit.chance).await
}

impl Counted {
    fn and(mut self, other: Counted) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The try was right: forget the failures of this person from this source, and take the try off what many share,
    /// where a success of one must not excuse the failures against others.
    pub(super) async fn right(self, tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
        for (subject, blocked_by_it) in &self.0 {
            if ["pair:", "text:", "factor:"].iter().any(|kind| subject.starts_with(kind)) {
                throttles::clear(tx, subject).await?;
            } else {
                let mut counter = throttles::hold(tx, subject, now).await?;
                counter.failures = (counter.failures - 1).max(0);
                // Tries that came after it have moved the block: theirs stays.
                if counter.blocked_until == *blocked_by_it {
                    counter.blocked_until = Timestamp::from_millis(0);
                }
                throttles::write(tx, subject, counter).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StorageUrl;
    use crate::sys::OsChance;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn pwd_05_an_own_sign_in_lifts_no_block_that_others_tries_have_brought() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&StorageUrl::Sqlite(folder.path().join("records.db"))).await.unwrap();
        let then = Then::Double(Span::minutes(1), Span::hours(1));
        let shared = [("address:192.0.2.1".to_owned(), Bound { free: 3, window: Span::hours(1), then })];
        let refused = AuditEvent::new(Actor::Anonymous, "signin.password", Outcome::Refused);
        let at = |now| Visit { address: IpAddr::from([192, 0, 2, 1]), agent: "", now, chance: &OsChance };
        let right = async |counted: Counted| {
            let mut tx = db.begin().await.unwrap();
            counted.right(&mut tx, NOW).await.unwrap();
            tx.commit(NOW).await.unwrap();
        };
        let blocked = async |now| {
            matches!(count(&db, &shared, &refused, &at(now)).await, Err(SignInError::Throttled(_)))
        };
        // While the own password is looked at, the others are tried.
        let own = count(&db, &shared, &refused, &at(NOW)).await.unwrap();
        count(&db, &shared, &refused, &at(NOW)).await.unwrap();
        count(&db, &shared, &refused, &at(NOW)).await.unwrap();
        assert!(blocked(NOW).await);
        right(own).await;
        assert!(blocked(NOW).await, "the others' tries are still there");
        // A block that only the own try has brought goes with it.
        let later = NOW + Span::minutes(2);
        let own = count(&db, &shared, &refused, &at(later)).await.unwrap();
        right(own).await;
        assert!(!blocked(later).await);
    }
}
