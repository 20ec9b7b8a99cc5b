//! The first administrator: a set-up link, or a name and a password from the environment. There is no default account.

use crate::access::{Authority, administrator};
use crate::crypto::token;
use crate::domain::{AccountKind, EmailAddress, Password, PersonName, Secret, Span, UserId, Username};
use crate::store::links::{self, Link, Purpose};

use super::users::{NewUser, create};
use super::work::Work;
use super::{Admin, Error, Issued};

impl Admin {
    /// A link with which the first administrator is made; every older one is worth nothing from then on.
    pub async fn setup_link(&self, by: &Authority, life: Span) -> Result<Issued, Error> {
        let mut work = self.begin(by, "setup.link").await?;
        let done = setup_link(&mut work, life).await;
        work.end(done).await
    }

    /// Whether somebody administers, or is about to.
    pub async fn is_set_up(&self) -> Result<bool, Error> {
        let mut conn = self.db.read().await?;
        Ok(administrator::anybody(&mut conn, self.clock.now()).await?.is_some())
    }

    /// Makes the administrator whom the environment names, once: while there is none. The password must be changed
    /// before anything else. `None` when there is an administrator already.
    pub async fn bootstrap_admin(
        &self,
        username: &Username,
        password: &Password,
        email: Option<&EmailAddress>,
    ) -> Result<Option<UserId>, Error> {
        if self.is_set_up().await? {
            return Ok(None);
        }
        // Whatever the rules say: it opens nothing but the page on which it is changed.
        let hash = self.hash_anything(password).await?;
        let mut work = self.begin(&Authority::system(), "setup.bootstrap").await?;
        let done = bootstrap(&mut work, username, email, hash).await;
        work.end(done).await
    }
}

async fn setup_link(work: &mut Work<'_>, life: Span) -> Result<Issued, Error> {
    if !work.who.boundless() {
        return Err(Error::NotYours("only the operator of the host can issue a set-up link"));
    }
    if life > super::LINK_LIFE {
        return Err(Error::LinkLife(super::LINK_LIFE));
    }
    if administrator::anybody(&mut work.tx, work.now).await?.is_some() {
        return Err(Error::SetUp);
    }
    links::void(&mut work.tx, Purpose::Setup, None, work.now).await?;
    let handle = token::handle(&*work.admin.chance);
    let link = Link { user: None, by: work.who.words(), expires_at: work.now + life, used_at: None };
    links::add(&mut work.tx, &handle.digest(), Purpose::Setup, &link, work.now).await?;
    let event = work.event().with("until", link.expires_at);
    work.record(event).await?;
    let text = Secret::new(format!("{}/setup/{}", work.admin.settings.portal_origin, handle.expose()));
    Ok(Issued { text, expires_at: link.expires_at })
}

async fn bootstrap(
    work: &mut Work<'_>,
    username: &Username,
    email: Option<&EmailAddress>,
    hash: String,
) -> Result<Option<UserId>, Error> {
    // Asked again under the lock: two nodes may start at once.
    if administrator::anybody(&mut work.tx, work.now).await?.is_some() {
        return Ok(None);
    }
    let name = PersonName::parse(username.as_str())?;
    let new =
        NewUser { kind: AccountKind::Admin, email: email.cloned(), ..NewUser::new(username.clone(), name) };
    let created = create(work, &new, Some(hash), true).await?;
    links::void(&mut work.tx, Purpose::Setup, None, work.now).await?;
    Ok(Some(created.id))
}
