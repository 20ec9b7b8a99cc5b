//! One-time links: setting a password, and the first administrator.

use crate::access::administrator;
use crate::crypto::token::handle_digest;
use crate::domain::{
    AccountKind, Actor, AssignmentId, AuditEvent, EmailAddress, Origin, Outcome, Password, PersonName, Place,
    Status, Timestamp, User, UserId, Username,
};
use crate::session::Visit;
use crate::store::grants::{self, Assignment};
use crate::store::links::{self, Purpose};
use crate::store::{DbError, audit, roles, users};

use super::{SignIn, SignInError};

/// What a link is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It has run out.
    Expired,
    /// It can be used, until then, for this person if it is for one.
    Open(Timestamp, Option<User>),
    /// Nobody issued it.
    Unknown,
    /// It was used.
    Used,
}

/// The first administrator, as the form has them.
pub struct NewAdministrator {
    /// How they are called.
    pub name: PersonName,
    /// Where to write to.
    pub email: Option<EmailAddress>,
    /// What they sign in with.
    pub username: Username,
    /// What they have chosen.
    pub password: Password,
}

impl SignIn {
    /// Looks at a link.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn link(
        &self,
        text: &str,
        purpose: Purpose,
        visit: &Visit<'_>,
    ) -> Result<LinkState, SignInError> {
        let Some(digest) = handle_digest(text) else { return Ok(LinkState::Unknown) };
        let mut conn = self.db.read().await?;
        let Some(link) = links::peek(&mut conn, &digest, purpose).await? else {
            return Ok(LinkState::Unknown);
        };
        if link.used_at.is_some() {
            return Ok(LinkState::Used);
        }
        if link.expires_at <= visit.now {
            return Ok(LinkState::Expired);
        }
        let user = match link.user {
            None => None,
            Some(user) => match users::by_id(&mut conn, user).await? {
                Some(user) if matches!(user.status_at(visit.now), Status::Active | Status::Invited) => {
                    Some(user)
                }
                // A link does not open an account that has been stopped.
                _ => return Ok(LinkState::Expired),
            },
        };
        Ok(LinkState::Open(link.expires_at, user))
    }

    /// Uses a link to set a password. Sessions end; the person then signs in, second factor and all.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the link is worth nothing; [`SignInError::Same`] when the password is the present one, which
    /// somebody else may know. The link is not spent then: whoever has it may set any other.
    pub async fn set_password_by_link(
        &self,
        text: &str,
        password: &Password,
        visit: &Visit<'_>,
    ) -> Result<UserId, SignInError> {
        let digest = handle_digest(text).ok_or(SignInError::Stale)?;
        // Asked of a link that is open, so that nobody without one can try passwords here.
        let LinkState::Open(_, Some(owner)) = self.link(text, Purpose::Password, visit).await? else {
            return Err(SignInError::Stale);
        };
        if self.is_present(owner.id, password, visit).await? {
            return Err(SignInError::Same);
        }
        let hash = self.hashed(password, visit).await?;
        let mut tx = self.db.begin().await?;
        let link =
            links::take(&mut tx, &digest, Purpose::Password, visit.now).await?.ok_or(SignInError::Stale)?;
        let id = link.user.ok_or(SignInError::Stale)?;
        let user = users::by_id(&mut tx, id).await?.ok_or(SignInError::Stale)?;
        match user.status_at(visit.now) {
            Status::Active => {}
            Status::Invited => users::set_status(&mut tx, id, Status::Active, None).await?,
            Status::Deleted | Status::Inactive | Status::Suspended => return Err(SignInError::Stale),
        }
        self.write_password(&mut tx, id, &hash, None, visit).await?;
        links::void(&mut tx, Purpose::Password, Some(id), visit.now).await?;
        tx.commit(visit.now).await?;
        Ok(id)
    }

    /// Uses the set-up link to make the first administrator.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the link is worth nothing or there is an administrator; [`DbError::Conflict`] when
    /// the username is taken.
    pub async fn set_up(
        &self,
        text: &str,
        new: &NewAdministrator,
        visit: &Visit<'_>,
    ) -> Result<UserId, SignInError> {
        let digest = handle_digest(text).ok_or(SignInError::Stale)?;
        let hash = self.hashed(&new.password, visit).await?;
        let mut tx = self.db.begin().await?;
        tx.lock("administrators").await?;
        links::take(&mut tx, &digest, Purpose::Setup, visit.now).await?.ok_or(SignInError::Stale)?;
        if administrator::anybody(&mut tx, visit.now).await?.is_some() {
            return Err(SignInError::Stale);
        }
        let role = roles::all(&mut tx)
            .await?
            .into_iter()
            .find(|role| role.tenant.is_none() && role.slug.as_str() == administrator::SUPER_ADMIN);
        let role = role.ok_or(DbError::Missing)?;
        let user = User {
            id: UserId::mint(visit.now, visit.chance),
            username: new.username.clone(),
            name: new.name.clone(),
            email: new.email.clone(),
            // Contact data: no tenant has verified the domain.
            email_verified: false,
            kind: AccountKind::Admin,
            status: Status::Active,
            suspension: None,
            must_change_password: false,
            last_sign_in_at: None,
            created_at: visit.now,
            version: 1,
        };
        users::add(&mut tx, &user).await?;
        crate::store::credentials::set_password(&mut tx, user.id, &hash, visit.now).await?;
        let given = Assignment {
            id: AssignmentId::mint(visit.now, visit.chance),
            user: user.id,
            role: role.id,
            place: Place::Global,
            origin: Origin::Manual,
            by: "the set-up link".to_owned(),
            at: visit.now,
        };
        grants::assign(&mut tx, &given).await?;
        links::void(&mut tx, Purpose::Setup, None, visit.now).await?;
        let event = AuditEvent::new(Actor::User(user.id), "setup.complete", Outcome::Done)
            .on("user", user.id)
            .from(Some(visit.address))
            .with("username", &user.username);
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        tx.commit(visit.now).await?;
        Ok(user.id)
    }
}
