//! Places in the tenant tree: everything, a tenant, one of its organisations, one of its departments.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::BadText;
use super::{DepartmentId, OrgId, Slug, TenantId};

/// Where a grant holds, or where a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// The whole system.
    Global,
    /// A tenant with everything in it.
    Tenant(TenantId),
    /// An organisation with its departments.
    Org(TenantId, OrgId),
    /// A department.
    Department(TenantId, OrgId, DepartmentId),
}

impl Place {
    /// Whether what is granted here holds there: `other` is this place or lies within it.
    #[must_use]
    pub fn covers(self, other: Place) -> bool {
        match self {
            Place::Global => true,
            Place::Tenant(tenant) => other.tenant() == Some(tenant),
            Place::Org(tenant, org) => other.tenant() == Some(tenant) && other.org() == Some(org),
            Place::Department(..) => self == other,
        }
    }

    /// The tenant it lies in.
    #[must_use]
    pub const fn tenant(self) -> Option<TenantId> {
        match self {
            Place::Global => None,
            Place::Tenant(tenant) | Place::Org(tenant, _) | Place::Department(tenant, _, _) => Some(tenant),
        }
    }

    /// The organisation it lies in.
    #[must_use]
    pub const fn org(self) -> Option<OrgId> {
        match self {
            Place::Global | Place::Tenant(_) => None,
            Place::Org(_, org) | Place::Department(_, org, _) => Some(org),
        }
    }

    /// The department it is.
    #[must_use]
    pub const fn department(self) -> Option<DepartmentId> {
        match self {
            Place::Department(_, _, department) => Some(department),
            _ => None,
        }
    }
}

/// A place by name, as people write it: `acme`, `acme/europe`, `acme/europe/finance`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlacePath {
    /// The tenant's slug.
    pub tenant: Slug,
    /// The organisation's slug, if any.
    pub org: Option<Slug>,
    /// The department's slug, if any.
    pub department: Option<Slug>,
}

impl PlacePath {
    /// # Errors
    /// When it is not one to three slugs with slashes between.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        const BAD: BadText =
            BadText("a place is written tenant, tenant/organisation or tenant/organisation/department");
        let mut parts = text.split('/');
        let tenant = parts.next().and_then(|part| Slug::parse(part).ok()).ok_or(BAD)?;
        let org = parts.next().map(Slug::parse).transpose().map_err(|_| BAD)?;
        let department = parts.next().map(Slug::parse).transpose().map_err(|_| BAD)?;
        if parts.next().is_some() {
            return Err(BAD);
        }
        Ok(Self { tenant, org, department })
    }
}

impl fmt::Display for PlacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tenant)?;
        for part in [&self.org, &self.department].into_iter().flatten() {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for PlacePath {
    type Error = BadText;
    fn try_from(text: String) -> Result<Self, BadText> {
        Self::parse(&text)
    }
}

impl From<PlacePath> for String {
    fn from(path: PlacePath) -> String {
        path.to_string()
    }
}
