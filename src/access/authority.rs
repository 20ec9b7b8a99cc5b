//! Who may change what. Every function of `admin` asks, and gets a permit of its own or an error.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::{AccountKind, Actor, Permission, PermissionPattern, Place, SessionId};

use super::principal::Principal;

/// Somebody who asks for a change: the operator of the host, or a signed-in administrator.
#[derive(Clone, Debug)]
pub struct Authority {
    actor: Actor,
    principal: Option<Arc<Principal>>,
    session: Option<SessionId>,
    address: Option<IpAddr>,
}

/// The change is not theirs to make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs the permission {permission} there, and you do not have it")]
pub struct NotAllowed {
    /// What is missing.
    pub permission: String,
}

impl Authority {
    /// Whoever runs commands on the host. May do everything: the host's files are theirs anyway.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self { actor: Actor::Operator(name.to_owned()), principal: None, session: None, address: None }
    }

    /// Cardea itself, for what the configuration file says.
    #[must_use]
    pub fn system() -> Self {
        Self { actor: Actor::System, principal: None, session: None, address: None }
    }

    /// A signed-in administrator.
    #[must_use]
    pub fn of(principal: Arc<Principal>) -> Self {
        Self { actor: Actor::User(principal.user), principal: Some(principal), session: None, address: None }
    }

    /// In this session and from there, for the audit log.
    #[must_use]
    pub fn within(mut self, session: SessionId, address: IpAddr) -> Self {
        (self.session, self.address) = (Some(session), Some(address));
        self
    }

    /// In which session and from where they ask.
    #[must_use]
    pub const fn whence(&self) -> (Option<SessionId>, Option<IpAddr>) {
        (self.session, self.address)
    }

    /// Who asks, for the audit log.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.actor.clone()
    }

    /// In words, for records that name who did it.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.actor, &self.principal) {
            (Actor::Operator(name), _) => format!("{name} on the host"),
            (_, Some(principal)) => principal.username.to_string(),
            _ => "Cardea".to_owned(),
        }
    }

    /// The person, if it is one.
    #[must_use]
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// Whether it is this person.
    #[must_use]
    pub fn is(&self, user: crate::domain::UserId) -> bool {
        self.actor == Actor::User(user)
    }

    /// # Errors
    /// When they do not hold the permission at the place.
    pub fn demand(&self, permission: &str, at: Place) -> Result<(), NotAllowed> {
        let Some(principal) = &self.principal else { return Ok(()) };
        let held = Permission::parse(permission)
            .is_ok_and(|needed| principal.active() && principal.holds(&needed, at));
        if held { Ok(()) } else { Err(NotAllowed { permission: permission.to_owned() }) }
    }

    /// Nobody gives what they lack, nor touches somebody who holds what they lack (`TENANT-05`, `TENANT-07`).
    ///
    /// # Errors
    /// With the first permission that they lack at the place.
    pub fn covers<'p>(
        &self,
        permissions: impl IntoIterator<Item = (&'p PermissionPattern, Place)>,
    ) -> Result<(), NotAllowed> {
        let Some(principal) = &self.principal else { return Ok(()) };
        let mine = |pattern: &PermissionPattern, place: Place| {
            principal.kind == AccountKind::Admin
                && principal.active()
                && principal
                    .permissions
                    .iter()
                    .any(|granted| granted.place.covers(place) && granted.pattern.includes(pattern))
        };
        match permissions.into_iter().find(|(pattern, place)| !mine(pattern, *place)) {
            Some((pattern, _)) => Err(NotAllowed { permission: pattern.to_string() }),
            None => Ok(()),
        }
    }
}
