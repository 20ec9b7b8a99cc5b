//! Sessions that follow their provider: it is asked about each from time to time, and one that it does not stand by any more
//! ends. A provider that does not answer ends nothing, for a while.
//!
//! A refresh token is good for one use, so one node alone may ask about a session (`A134`): whoever moves the moment at which
//! it is due has taken that on. Should it stop meanwhile, another node takes it on later.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{SignIn, SignInError};
use crate::domain::provider::Provider;
use crate::domain::{Actor, AuditEvent, Chance, Outcome, Span, Timestamp};
use crate::federation::{Asked, Kept, Standing};
use crate::session::Visit;
use crate::store::provider_sessions::{self, ProviderSession};
use crate::store::{DbError, audit, sessions};
use crate::sys::Clock;

/// How often a node looks which sessions are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many it asks about at once.
const AT_ONCE: i64 = 16;
/// How long it may take over one: longer than a provider may take to answer, and the database to note it.
const CLAIM: Span = Span::seconds(30);
/// How often noting an answer is tried. What the provider has given for the spent token would be lost.
const TRIES: u32 = 5;

/// Asks providers about sessions, for ever.
pub struct Follower {
    /// The stories of coming in.
    pub signin: Arc<SignIn>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
}

impl Follower {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let this = Arc::new(self);
        let mut failing = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // Where nobody follows, nobody looks.
            if this.signin.federation.providers().iter().all(|provider| provider.follow.is_none()) {
                continue;
            }
            match this.round().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "sessions cannot follow their providers: the database fails");
                    }
                    failing = true;
                }
            }
        }
    }

    async fn round(self: &Arc<Self>) -> Result<(), DbError> {
        let mut conn = self.signin.db.read().await?;
        let due = provider_sessions::due(&mut conn, self.clock.now(), AT_ONCE).await?;
        drop(conn);
        let mut asking = JoinSet::new();
        for session in due {
            let this = Arc::clone(self);
            asking.spawn(async move {
                if let Err(error) = this.ask(session).await {
                    tracing::error!(%error, "what a provider says of a session could not be noted");
                }
            });
        }
        while asking.join_next().await.is_some() {}
        Ok(())
    }

    /// Asks about one session, if no other node does.
    async fn ask(&self, mut at: ProviderSession) -> Result<(), SignInError> {
        let now = self.clock.now();
        let until = now + CLAIM;
        let mut tx = self.signin.db.begin().await?;
        let live = sessions::by_id(&mut tx, at.session).await?.is_some_and(|session| session.live_at(now));
        let provider = self.signin.federation.named(at.provider.as_str());
        let follow = provider.as_ref().and_then(|provider| provider.follow);
        let (true, Some(provider), Some(follow)) = (live, provider, follow) else {
            // Over by itself, or nobody wants to know any more.
            let due = at.due_at.unwrap_or(now);
            at.due_at = None;
            provider_sessions::confirm(&mut tx, due, &at).await?;
            tx.commit(now).await?;
            return Ok(());
        };
        let mine = provider_sessions::claim(&mut tx, &at, until).await?;
        tx.commit(now).await?;
        if !mine {
            return Ok(());
        }
        let kept = self.signin.opened(&at).unwrap_or_else(|error| {
            tracing::error!(%error, session = %at.session, "the tokens of a session do not open");
            Kept::default()
        });
        let about =
            Asked { subject: &at.subject, sid: at.sid.as_deref(), kept: &kept, now, chance: &*self.chance };
        let standing = self.signin.federation.standing(&provider, &about).await;
        let now = self.clock.now();
        let standing = match standing {
            Standing::Later(kept, trouble) => {
                at.tokens = self.signin.sealed(&kept, at.session, &at.provider, &self.visit(now))?;
                Standing::Unknown(trouble)
            }
            standing => standing,
        };
        let (stands, over) = match standing {
            Standing::Stands(kept) => (Some(kept), None),
            Standing::Over(why) => (None, Some((why.check, why.detail))),
            Standing::Unknown(trouble) | Standing::Later(_, trouble) => {
                tracing::warn!(provider = %provider.name, %trouble, "a provider does not say whether a session stands");
                let late = now.since(at.confirmed_at) >= follow.grace;
                (None, late.then(|| (trouble.check(), trouble.detail().to_owned())))
            }
        };
        if let Some((check, why)) = over {
            return self.end(&provider, &at, until, (check, &why)).await;
        }
        if let Some(kept) = stands {
            at.tokens = self.signin.sealed(&kept, at.session, &at.provider, &self.visit(now))?;
            at.confirmed_at = now;
        }
        at.due_at = Some(now + follow.every);
        self.noted(until, &at).await
    }

    /// Notes an answer, and does not give up at once.
    async fn noted(&self, claimed: Timestamp, at: &ProviderSession) -> Result<(), SignInError> {
        let once = async || {
            let mut tx = self.signin.db.begin().await?;
            provider_sessions::confirm(&mut tx, claimed, at).await?;
            tx.commit(self.clock.now()).await
        };
        let mut tries = 1;
        loop {
            match once().await {
                Ok(()) => return Ok(()),
                Err(error) if tries >= TRIES => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
            tries += 1;
        }
    }

    /// Ends a session that the provider does not stand by.
    async fn end(
        &self,
        provider: &Provider,
        at: &ProviderSession,
        claimed: Timestamp,
        (check, why): (&str, &str),
    ) -> Result<(), SignInError> {
        let now = self.clock.now();
        let mut tx = self.signin.db.begin().await?;
        // Whoever has come from the provider anew meanwhile stays.
        if !provider_sessions::confirm(&mut tx, claimed, at).await? {
            return Ok(());
        }
        if sessions::end(
            &mut tx,
            at.session,
            &format!("{} does not stand by it any more", provider.label),
            now,
        )
        .await?
        {
            let event = AuditEvent::new(Actor::System, "session.end", Outcome::Done)
                .on("session", at.session)
                .session(at.session)
                .with("provider", &provider.name)
                .with("check", check)
                .with("why", why);
            audit::write(&mut tx, &event, now, &*self.chance).await?;
        }
        tx.commit(now).await?;
        Ok(())
    }

    fn visit(&self, now: Timestamp) -> Visit<'_> {
        let address = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        Visit { address, agent: "", now, chance: &*self.chance }
    }
}
