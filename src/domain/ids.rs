//! Identifiers: one type per kind of thing, all `UUIDv7`, never reused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Chance, Timestamp};

/// What every identifier can do; lets the store carry any of them.
pub trait Id: Copy {
    /// Wraps a UUID that came from our own tables.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The bare UUID, for storing.
    fn uuid(self) -> Uuid;
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier: 48 bits of time, 74 bits of chance (RFC 9562, 5.7).
            #[must_use]
            pub fn mint(now: Timestamp, chance: &dyn Chance) -> Self {
                let millis = u64::try_from(now.millis()).unwrap_or_default();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &chance.bytes::<10>()).into_uuid())
            }
        }

        impl Id for $name {
            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
            fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            /// Reads the canonical text only: lower case, hyphenated.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let uuid = Uuid::try_parse(text).map_err(|_| NotAnId)?;
                if uuid.hyphenated().to_string() == text { Ok(Self(uuid)) } else { Err(NotAnId) }
            }
        }
    )+};
}

id! {
    /// A role given to somebody at a place.
    AssignmentId;
    /// An audit record.
    AuditId;
    /// A department of an organisation.
    DepartmentId;
    /// A second factor of a user.
    FactorId;
    /// A group of a tenant.
    GroupId;
    /// A sealed key of ours.
    KeyId;
    /// An organisation of a tenant.
    OrgId;
    /// A role.
    RoleId;
    /// A session, as people and upstreams may see it. It opens nothing.
    SessionId;
    /// A tenant.
    TenantId;
    /// A person.
    UserId;
}

/// The text is not a canonical UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not an id; ids look like 0197f3c2-7a51-7c3e-9d5b-0242ac120002")]
pub struct NotAnId;
