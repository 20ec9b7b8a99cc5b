//! A sign-in as a state machine.
//!
//! `Stage` is what a flow remembers between two requests. Every step consumes the stage and gives the next one;
//! [`Proven::complete`] is the only way to a [`Complete`], and it refuses while something is still owed. A session is
//! started from a `Complete` and from nothing else.

use serde::{Deserialize, Serialize};

use super::session::{FirstFactor, SecondFactor};
use super::{Level, SessionId, Slug, Span, Timestamp, UserId};

/// Where a sign-in stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Stage {
    /// The provider has vouched for somebody; what it said is sealed beside. The browser has not yet shown that it is the
    /// one that began.
    Arrived {
        /// Which provider.
        provider: Slug,
        /// The source from which the sign-in was begun; what fails counts against it.
        #[serde(default)]
        from: String,
    },
    /// The browser was sent to an identity provider. Nothing is proven.
    Away {
        /// Which provider.
        provider: Slug,
        /// How long ago the person may have signed in there, if that was asked.
        max_age: Option<Span>,
        /// The source from which the sign-in was begun; what fails counts against it.
        #[serde(default)]
        from: String,
    },
    /// Somebody said who they are. Nothing is proven.
    Named {
        /// As typed.
        identifier: String,
    },
    /// The first factor was right.
    Proven(Proven),
    /// An operator tries a provider; nobody is signed in by it.
    Rehearsing {
        /// Which provider.
        provider: Slug,
        /// How long ago the person may have signed in there, if that was asked.
        max_age: Option<Span>,
        /// Whether a browser was sent there.
        away: bool,
    },
    /// What came of that waits sealed beside.
    Rehearsed,
    /// An answer of the provider has come and is being looked at, or was refused. No second one is taken.
    Returned,
    /// Done; later tabs go straight on.
    Finished {
        /// The session that came of it.
        session: SessionId,
    },
}

/// Why a flow was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "lowercase")]
pub enum Purpose {
    /// Somebody is signed in, and ties an identity at a provider to the account.
    Link {
        /// The session of the account.
        session: SessionId,
    },
    /// Nobody is signed in.
    SignIn,
    /// Somebody is, and must prove more or again. The proof must come from the same person.
    StepUp {
        /// The session to be raised.
        session: SessionId,
    },
}

/// Somebody whose first factor was right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    user: UserId,
    level: Level,
    epoch: i64,
    changed_password: bool,
    #[serde(default)]
    ends: Option<Timestamp>,
}

/// What the account and the rules demand of this sign-in, looked up anew at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// The person has a second factor.
    pub enrolled: bool,
    /// A rule for this person or the target demands one.
    pub second_required: bool,
    /// The password was set by somebody else.
    pub must_change_password: bool,
}

/// The next thing that a sign-in owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A new password.
    NewPassword,
    /// A second factor that the person has.
    SecondFactor,
    /// A second factor that the person must first set up.
    Enrolment,
}

impl Proven {
    /// After the first factor was checked, in an epoch of the person's credentials that was read before the check.
    #[must_use]
    pub fn first(user: UserId, first: FirstFactor, epoch: i64, now: Timestamp) -> Self {
        Self {
            user,
            level: Level { first, first_at: now, second: None },
            epoch,
            changed_password: false,
            ends: None,
        }
    }

    /// From a session that is to be raised: what it has proven already counts.
    #[must_use]
    pub fn resumed(user: UserId, level: Level, epoch: i64) -> Self {
        Self { user, level, epoch, changed_password: false, ends: None }
    }

    /// What comes of it ends no later than this.
    #[must_use]
    pub fn ending(mut self, ends: Option<Timestamp>) -> Self {
        self.ends = ends;
        self
    }

    /// The epoch of the credentials that it was proven with. In another epoch it is worth nothing.
    #[must_use]
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The same proof in the epoch that this very flow has begun, by changing a credential.
    #[must_use]
    pub fn in_epoch(mut self, epoch: i64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Whose proof it is.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// What was proven so far.
    #[must_use]
    pub const fn level(&self) -> &Level {
        &self.level
    }

    /// After the second factor was checked.
    #[must_use]
    pub fn with_second(mut self, second: SecondFactor, now: Timestamp) -> Self {
        self.level.second = Some((second, now));
        self
    }

    /// After a new password was set in this flow.
    #[must_use]
    pub fn with_new_password(mut self) -> Self {
        self.changed_password = true;
        self
    }

    /// What is still owed. The factor the person has comes before the password change, so that a stolen first
    /// password does not suffice to take the account.
    #[must_use]
    pub fn owes(&self, demands: Demands) -> Option<Owed> {
        if demands.enrolled && self.level.second.is_none() {
            Some(Owed::SecondFactor)
        } else if demands.must_change_password && !self.changed_password {
            Some(Owed::NewPassword)
        } else if demands.second_required && self.level.second.is_none() {
            Some(Owed::Enrolment)
        } else {
            None
        }
    }

    /// # Errors
    /// With what is still owed, and the proof handed back.
    pub fn complete(self, demands: Demands) -> Result<Complete, (Owed, Proven)> {
        match self.owes(demands) {
            Some(owed) => Err((owed, self)),
            None => Ok(Complete { user: self.user, level: self.level, ends: self.ends }),
        }
    }
}

/// A sign-in that owes nothing. The proof that a session may be started.
#[derive(Debug)]
pub struct Complete {
    user: UserId,
    level: Level,
    ends: Option<Timestamp>,
}

impl Complete {
    /// Who signed in.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// How.
    #[must_use]
    pub const fn level(&self) -> &Level {
        &self.level
    }

    /// When the session must end at the latest, if whoever has vouched says so.
    #[must_use]
    pub const fn ends(&self) -> Option<Timestamp> {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Id;

    #[test]
    fn mfa_01_nothing_completes_while_something_is_owed() {
        let now = Timestamp::from_millis(1);
        let user = UserId::from_uuid(uuid::Uuid::nil());
        for bits in 0..32_u8 {
            let demands = Demands {
                enrolled: bits & 1 > 0,
                second_required: bits & 2 > 0,
                must_change_password: bits & 4 > 0,
            };
            let (second, changed) = (bits & 8 > 0, bits & 16 > 0);
            let mut proven = Proven::first(user, FirstFactor::Password, 0, now);
            if second {
                proven = proven.with_second(SecondFactor::Totp, now);
            }
            if changed {
                proven = proven.with_new_password();
            }
            let owes_second = (demands.enrolled || demands.second_required) && !second;
            let owes_change = demands.must_change_password && !changed;
            assert_eq!(
                proven.complete(demands).is_ok(),
                !owes_second && !owes_change,
                "{demands:?} {second} {changed}"
            );
        }
    }

    #[test]
    fn an_enrolled_person_gives_the_factor_before_the_password_changes() {
        let proven = Proven::first(
            UserId::from_uuid(uuid::Uuid::nil()),
            FirstFactor::Password,
            0,
            Timestamp::from_millis(1),
        );
        let demands = Demands { enrolled: true, second_required: false, must_change_password: true };
        assert_eq!(proven.owes(demands), Some(Owed::SecondFactor));
    }
}
