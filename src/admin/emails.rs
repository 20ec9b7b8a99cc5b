//! When an address is also a sign-in name: if a tenant that the person belongs to has verified its domain.
//!
//! Any other address is contact data, which several people may share; so nobody can take somebody else's sign-in name by
//! writing it down first.

use crate::access::Snapshot;
use crate::domain::{EmailAddress, Hostname, Outcome, User, UserId};
use crate::store::memberships::{self, Membership};
use crate::store::{identities, users};

use super::Error;
use super::work::Work;

/// What became of an address when domains or memberships changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regained {
    /// Whose.
    pub user: UserId,
    /// Their username.
    pub username: String,
    /// Whether it signs in now.
    pub signs_in: bool,
}

/// Whether an address is a sign-in name for somebody with these memberships.
pub(super) fn entitled(tree: &Snapshot, memberships: &[Membership], email: &EmailAddress) -> bool {
    let owner = tree.tenant_of_domain(email.domain());
    owner.is_some_and(|tenant| memberships.iter().any(|membership| membership.tenant == tenant))
}

impl Work<'_> {
    /// An address for somebody: whether it signs in. Refused when it would and somebody else signs in with it.
    pub(super) async fn judge_email(
        &mut self,
        email: Option<&EmailAddress>,
        memberships: &[Membership],
        own: UserId,
    ) -> Result<bool, Error> {
        let Some(email) = email.filter(|email| entitled(&self.tree, memberships, email)) else {
            return Ok(false);
        };
        match users::by_sign_in_email(&mut self.tx, email).await? {
            Some(other) if other.id != own => Err(Error::EmailTaken(email.to_string())),
            _ => Ok(true),
        }
    }

    /// Looks at somebody's address again after their memberships, or the domains of a tenant, have changed.
    pub(super) async fn judge_again(&mut self, id: UserId) -> Result<Option<Regained>, Error> {
        let Some(mut user) = users::by_id(&mut self.tx, id).await? else { return Ok(None) };
        let memberships = memberships::of(&mut self.tx, id).await?;
        // What only a provider has said is vouched for by nobody who moves people and domains about.
        let claimed = identities::claimed(&mut self.tx, id).await?;
        let hearsay = !user.email_verified && claimed.is_some() && claimed == user.email;
        let signs_in = match self.judge_email(user.email.as_ref(), &memberships, id).await {
            Ok(signs_in) => signs_in && !hearsay,
            // Whoever signed in with it first keeps it; for the other it stays an address to write to.
            Err(Error::EmailTaken(_)) => false,
            Err(error) => return Err(error),
        };
        if signs_in == user.email_verified {
            return Ok(None);
        }
        user.email_verified = signs_in;
        users::edit(&mut self.tx, &user).await?;
        self.record_regained(&user).await?;
        Ok(Some(Regained { user: id, username: user.username.to_string(), signs_in }))
    }

    /// Looks at every address of these domains again.
    pub(super) async fn judge_domains(&mut self, domains: &[Hostname]) -> Result<Vec<Regained>, Error> {
        let mut regained = Vec::new();
        for domain in domains {
            for user in users::with_email_in(&mut self.tx, domain).await? {
                regained.extend(self.judge_again(user.id).await?);
            }
        }
        Ok(regained)
    }

    async fn record_regained(&mut self, user: &User) -> Result<(), Error> {
        let event = self
            .event_named("user.email-sign-in", Outcome::Done)
            .on("user", user.id)
            .with("signs_in", user.email_verified);
        self.record(event).await
    }
}
