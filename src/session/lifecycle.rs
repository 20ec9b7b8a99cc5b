//! The life of a session: started from a complete sign-in, raised, handed to other hosts, ended.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::cache::Cache;
use super::cookie::{self, Kind};
use super::notice::{Listener, Notices};
use super::{Lease, Record, Settings};
use crate::access::{Snapshot, principal};
use crate::crypto::Keyring;
use crate::crypto::digest::sha256;
use crate::crypto::token::{Token, handle, handle_digest};
use crate::domain::login::Complete;
use crate::domain::{Actor, AuditEvent, Chance, Change, Outcome, SessionId, Span, Status, Timestamp, UserId};
use crate::store::handoffs::Handoff;
use crate::store::sessions::Session;
use crate::store::{Db, DbError, Tx, audit, handoffs, sessions, users};

/// The purpose in a session token's MAC.
const PURPOSE: &str = "session";
/// How long a hand-off code lives.
const HANDOFF: Span = Span::seconds(30);

/// The circumstances of a request that changes something.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    /// From where.
    pub address: IpAddr,
    /// With what program, as it says.
    pub agent: &'a str,
    /// When.
    pub now: Timestamp,
    /// Chance for what is made.
    pub chance: &'a dyn Chance,
}

/// Every session of the installation, as far as this node has met it.
pub struct Sessions {
    db: Db,
    keys: Arc<Keyring>,
    cache: Cache,
    lease: Lease,
    notices: Notices,
    settings: Settings,
    secure: bool,
    seen: mpsc::Sender<(SessionId, Timestamp)>,
}

/// A token of ours, as a request shows it.
pub enum Shown {
    /// Of a session in memory.
    Known(Arc<Record>),
    /// Of another one, if there is one: its digest.
    Token([u8; 32]),
}

/// A hand-off code that was good.
pub struct Redeemed {
    /// The token for this host.
    pub token: Token,
    /// Path and query to go on to.
    pub return_to: String,
    /// The session.
    pub session: SessionId,
}

/// Why a hand-off code was not good.
#[derive(Debug)]
pub enum Spent {
    /// The browser shows no binding cookie: it refuses cookies, or the code was carried to another browser.
    NoCookie,
    /// Used, run out, for another host or browser, or of a session that has ended.
    Stale,
    /// The database failed.
    Db(DbError),
}

impl From<DbError> for Spent {
    fn from(error: DbError) -> Self {
        Spent::Db(error)
    }
}

impl Sessions {
    /// `seen` takes notes of use, to be written in batches. `secure` says whether browsers come over TLS.
    #[must_use]
    pub fn new(
        db: Db,
        keys: Arc<Keyring>,
        settings: Settings,
        lease: Span,
        secure: bool,
        seen: mpsc::Sender<(SessionId, Timestamp)>,
    ) -> Self {
        let (cache, lease, notices) = (Cache::new(), Lease::new(lease), Notices::new());
        Self { db, keys, cache, lease, notices, settings, secure, seen }
    }

    /// Whether browsers come over TLS.
    #[must_use]
    pub const fn secure(&self) -> bool {
        self.secure
    }

    /// Whether memory may be believed.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Drops from memory what changed, and tells whoever keeps something open; `None` means everything.
    pub fn apply(&self, changes: Option<&[Change]>) {
        self.cache.apply(changes);
        self.notices.tell(changes);
    }

    /// Tells whoever keeps something open that another policy is in force. Comes after the snapshot was swapped.
    pub fn policy_changed(&self) {
        self.notices.tell(None);
    }

    /// Hears from now on what is applied.
    #[must_use]
    pub fn listen(&self) -> Listener {
        self.notices.listen()
    }

    /// Drops from memory what has come to its end.
    pub fn sweep(&self, now: Timestamp) {
        self.cache.sweep(now);
    }

    /// How many are in memory.
    #[must_use]
    pub fn cached_count(&self) -> usize {
        self.cache.len()
    }

    /// The digest of the session token among a request's `Cookie` fields, if it is one we made for this host.
    pub fn presented<'a>(&self, fields: impl Iterator<Item = &'a [u8]>, host: &str) -> Option<[u8; 32]> {
        let text = cookie::read(fields, Kind::Session, self.secure)?;
        self.keys.web.session.check(text, PURPOSE, host)
    }

    /// What a request shows in its `Cookie` fields; nothing, if that is no token we made for this host.
    ///
    /// What is in memory for this host was shown to be ours when it was read, so its MAC is not computed again. Memory is
    /// only to be believed while the [lease](Self::lease) holds.
    pub fn shown<'a>(
        &self,
        fields: impl Iterator<Item = &'a [u8]>,
        host: &str,
        now: Timestamp,
    ) -> Option<Shown> {
        let text = cookie::read(fields, Kind::Session, self.secure)?;
        match self.remembered(&sha256(text), now).filter(|record| record.is_at(host)) {
            Some(record) => Some(Shown::Known(record)),
            None => self.keys.web.session.check(text, PURPOSE, host).map(Shown::Token),
        }
    }

    /// The session of a token, from memory. Notes the use.
    #[must_use]
    pub fn cached(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<Record>> {
        let record = self.remembered(digest, now)?;
        self.note_use(&record, now);
        Some(record)
    }

    /// The session of a token, from memory. To look is no use of it.
    #[must_use]
    pub fn remembered(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<Record>> {
        self.cache.find(digest).filter(|record| record.live_at(now))
    }

    /// The session of a token, from memory or from the database. Notes the use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resolve(
        &self,
        digest: &[u8; 32],
        host: &str,
        snapshots: &ArcSwap<Snapshot>,
        now: Timestamp,
    ) -> Result<Option<Arc<Record>>, DbError> {
        let found = self.look_up(digest, host, snapshots, now).await?;
        if let Some(record) = &found {
            self.note_use(record, now);
        }
        Ok(found)
    }

    /// The session of a token, from memory or else from the database, kept in memory from then on. To look is no use of it.
    ///
    /// Takes the place of the snapshot and not a snapshot: one that was loaded before a change of roles, used after this
    /// room was told of the change, would be kept in the record and never dropped. Whoever applies changes swaps the
    /// snapshot first and calls [`Sessions::apply`] then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look_up(
        &self,
        digest: &[u8; 32],
        host: &str,
        snapshots: &ArcSwap<Snapshot>,
        now: Timestamp,
    ) -> Result<Option<Arc<Record>>, DbError> {
        if self.lease.holds(now)
            && let Some(record) = self.remembered(digest, now)
        {
            return Ok(Some(record));
        }
        let mut last = None;
        // Read again while changes come in between; the third reading is used but not kept.
        for _ in 0..3 {
            // The generation first: whoever applies a change swaps the snapshot before counting the generation on.
            let generation = self.cache.generation();
            let snapshot = snapshots.load_full();
            let mut conn = self.db.read().await?;
            let Some(session) = sessions::by_token(&mut conn, digest, host).await? else { return Ok(None) };
            if !session.live_at(now) {
                return Ok(None);
            }
            let Some(who) = principal::load(&mut conn, session.user, &snapshot, now).await? else {
                return Ok(None);
            };
            if !who.active() {
                return Ok(None);
            }
            let record = Arc::new(Record::new(&session, host, self.cache.person(who)));
            if self.cache.keep(*digest, &record, generation) {
                return Ok(Some(record));
            }
            last = Some(record);
        }
        Ok(last)
    }

    /// Notes a use: a request, or traffic on what a request opened.
    pub fn note_use(&self, record: &Record, now: Timestamp) {
        if record.used(now, self.settings.idle) {
            // A full queue loses a note of use, nothing else.
            let _ = self.seen.try_send((record.id, now));
        }
    }

    /// Writes notes of use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_seen(&self, notes: &[(SessionId, Timestamp)], now: Timestamp) -> Result<(), DbError> {
        // In the order of their ids, so that two nodes which write of the same sessions do not wait for each other.
        let mut notes = notes.to_vec();
        notes.sort_unstable();
        let mut tx = self.db.begin().await?;
        for (session, at) in &notes {
            sessions::seen(&mut tx, *session, *at, *at + self.settings.idle).await?;
        }
        tx.commit(now).await
    }

    /// Starts a session. This is the one place that makes one, so the status of the account is asked here, whatever way
    /// the person came in.
    ///
    /// # Errors
    /// [`DbError::Missing`] when the account is not active any more.
    pub async fn start(
        &self,
        complete: &Complete,
        host: &str,
        visit: &Visit<'_>,
    ) -> Result<(SessionId, Token), DbError> {
        let mut tx = self.db.begin().await?;
        let begun = self.start_in(&mut tx, complete, host, visit).await?;
        tx.commit(visit.now).await?;
        Ok(begun)
    }

    /// As [`Sessions::start`], within a transaction that does more.
    ///
    /// # Errors
    /// As [`Sessions::start`].
    pub async fn start_in(
        &self,
        tx: &mut Tx,
        complete: &Complete,
        host: &str,
        visit: &Visit<'_>,
    ) -> Result<(SessionId, Token), DbError> {
        let (user, now) = (complete.user(), visit.now);
        // Holds the person's row: two sign-ins at once count each other, and a suspension comes before or after.
        users::signed_in(tx, user, now).await?;
        let account = users::by_id(tx, user).await?.ok_or(DbError::Missing)?;
        if account.status_at(now) != Status::Active {
            return Err(DbError::Missing);
        }
        for old in
            sessions::live_of(tx, user, now).await?.iter().skip(self.settings.per_user.saturating_sub(1))
        {
            sessions::end(tx, old.id, "too many sessions", now).await?;
        }
        let latest = now + self.settings.absolute;
        let session = Session {
            id: SessionId::mint(now, visit.chance),
            user,
            tenant: None,
            level: complete.level().clone(),
            created_at: now,
            seen_at: now,
            idle_until: now + self.settings.idle,
            absolute_until: complete.ends().map_or(latest, |ends| ends.min(latest)),
            ended: None,
            address: visit.address.to_string(),
            agent: clip(visit.agent),
        };
        sessions::add(tx, &session).await?;
        let token = self.keys.web.session.issue(PURPOSE, host, visit.chance);
        sessions::add_token(tx, session.id, host, &token.digest(), now).await?;
        let event = AuditEvent::new(Actor::User(user), "session.start", Outcome::Done)
            .on("user", user)
            .session(session.id)
            .from(Some(visit.address))
            .with("how", session.level.words());
        audit::write(tx, &event, now, visit.chance).await?;
        Ok((session.id, token))
    }

    /// Raises a session to what was proven now, and gives the portal a new token for it; the old one is dead.
    /// `None` when the session has ended or is somebody else's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn raise_in(
        &self,
        tx: &mut Tx,
        session: SessionId,
        complete: &Complete,
        host: &str,
        visit: &Visit<'_>,
    ) -> Result<Option<Token>, DbError> {
        let now = visit.now;
        let live =
            sessions::by_id(tx, session).await?.filter(|s| s.live_at(now) && s.user == complete.user());
        if live.is_none() || !sessions::raise(tx, session, complete.level()).await? {
            return Ok(None);
        }
        self.renew_in(tx, session, host, visit).await
    }

    /// Gives a session a new token at a host and kills the old ones: at every change of privilege.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_in(
        &self,
        tx: &mut Tx,
        session: SessionId,
        host: &str,
        visit: &Visit<'_>,
    ) -> Result<Option<Token>, DbError> {
        sessions::drop_tokens(tx, session, host).await?;
        let token = self.keys.web.session.issue(PURPOSE, host, visit.chance);
        let given = sessions::add_token(tx, session, host, &token.digest(), visit.now).await?;
        Ok(given.then_some(token))
    }

    /// A code that lets a browser carry its session to a route's host. The session is looked at again first.
    ///
    /// # Errors
    /// [`DbError::Missing`] when the session has ended.
    pub async fn hand_off(
        &self,
        session: SessionId,
        host: &str,
        browser: &[u8; 32],
        return_to: &str,
        visit: &Visit<'_>,
    ) -> Result<Token, DbError> {
        let now = visit.now;
        let mut tx = self.db.begin().await?;
        let live =
            sessions::by_id(&mut tx, session).await?.filter(|s| s.live_at(now)).ok_or(DbError::Missing)?;
        let account = users::by_id(&mut tx, live.user).await?.ok_or(DbError::Missing)?;
        if account.status_at(now) != Status::Active {
            return Err(DbError::Missing);
        }
        let code = handle(visit.chance);
        let handoff = Handoff {
            session,
            host: host.to_owned(),
            browser: browser.to_vec(),
            return_to: return_to.to_owned(),
            expires_at: now + HANDOFF,
        };
        handoffs::add(&mut tx, &code.digest(), &handoff).await?;
        tx.commit(now).await?;
        Ok(code)
    }

    /// Spends a code at a route's host. It is spent even if refused.
    ///
    /// # Errors
    /// When it is not good for this host and browser.
    pub async fn redeem(
        &self,
        code: &str,
        host: &str,
        browser: Option<[u8; 32]>,
        visit: &Visit<'_>,
    ) -> Result<Redeemed, Spent> {
        let now = visit.now;
        let digest = handle_digest(code).ok_or(Spent::Stale)?;
        let mut tx = self.db.begin().await?;
        let Some(handoff) = handoffs::take(&mut tx, &digest).await? else {
            return Err(if browser.is_none() { Spent::NoCookie } else { Spent::Stale });
        };
        let wrong = match browser {
            None => Some(Spent::NoCookie),
            Some(browser) => {
                (handoff.host != host || handoff.browser != browser || now >= handoff.expires_at)
                    .then_some(Spent::Stale)
            }
        };
        if let Some(wrong) = wrong {
            tx.commit(now).await?;
            return Err(wrong);
        }
        let live = sessions::by_id(&mut tx, handoff.session).await?.is_some_and(|s| s.live_at(now));
        let token = self.keys.web.session.issue(PURPOSE, host, visit.chance);
        if live {
            sessions::drop_other_levels(&mut tx, handoff.session, host).await?;
        }
        let given = live && sessions::add_token(&mut tx, handoff.session, host, &token.digest(), now).await?;
        tx.commit(now).await?;
        if given {
            Ok(Redeemed { token, return_to: handoff.return_to, session: handoff.session })
        } else {
            Err(Spent::Stale)
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(
        &self,
        session: SessionId,
        by: Actor,
        why: &str,
        visit: &Visit<'_>,
    ) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        if sessions::end(&mut tx, session, why, visit.now).await? {
            let event = AuditEvent::new(by, "session.end", Outcome::Done)
                .on("session", session)
                .session(session)
                .from(Some(visit.address))
                .with("why", why);
            audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        }
        tx.commit(visit.now).await
    }

    /// Ends somebody's sessions, all but one if it is named; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_of(
        &self,
        user: UserId,
        except: Option<SessionId>,
        why: &str,
        visit: &Visit<'_>,
    ) -> Result<usize, DbError> {
        let mut tx = self.db.begin().await?;
        let ended = sessions::end_of(&mut tx, user, except, why, visit.now).await?;
        let event = AuditEvent::new(Actor::User(user), "session.end-all", Outcome::Done)
            .on("user", user)
            .from(Some(visit.address))
            .with("why", why)
            .with("ended", ended);
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        tx.commit(visit.now).await?;
        Ok(ended)
    }

    /// The database, for those who read what sessions there are.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }
}

/// The most of a program's own name for itself that is kept, without control characters.
fn clip(agent: &str) -> String {
    agent.chars().filter(|c| !c.is_control()).take(200).collect()
}
