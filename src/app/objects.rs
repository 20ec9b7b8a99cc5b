//! What the configuration file declares, in the words of the room that applies it.

use crate::admin::{Declared, DeclaredOrg, DeclaredRole, DeclaredTenant, RoleDraft};
use crate::config::Objects;

/// Everything but routes, which live in the snapshot alone.
#[must_use]
pub fn declared(objects: &Objects) -> Declared {
    Declared {
        tenants: objects
            .tenants
            .iter()
            .map(|tenant| DeclaredTenant {
                at: tenant.source.to_string(),
                slug: tenant.slug.clone(),
                name: tenant.name.clone(),
                domains: tenant.domains.clone(),
                plan: tenant.plan.clone().unwrap_or_default(),
                mfa_required: tenant.mfa_required,
                orgs: tenant
                    .orgs
                    .iter()
                    .map(|org| DeclaredOrg {
                        slug: org.slug.clone(),
                        name: org.name.clone(),
                        departments: org.departments.clone(),
                    })
                    .collect(),
            })
            .collect(),
        roles: objects
            .roles
            .iter()
            .map(|role| DeclaredRole {
                at: role.source.to_string(),
                tenant: role.tenant.clone(),
                slug: role.slug.clone(),
                draft: RoleDraft {
                    name: role.name.clone(),
                    description: role.description.clone(),
                    scope: role.scope,
                    permissions: role.permissions.clone(),
                    exclusive: role.exclusive,
                    auto_assigned: role.auto_assigned,
                    mfa: role.mfa,
                    landing: role.landing.clone(),
                },
            })
            .collect(),
        groups: objects.groups.clone(),
    }
}
