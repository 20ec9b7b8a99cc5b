//! Roles and what they allow.

use std::collections::HashMap;

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{Change, PermissionPattern, Role, RoleId, Scope, TenantId, Timestamp};

statements! {
    ALL_ROLES = "
        SELECT id, tenant_id, slug, name, description, scope, exclusive, auto_assigned, mfa_required, landing, origin
          FROM roles WHERE retired = FALSE ORDER BY slug, id";
    ALL_PERMISSIONS = "SELECT role_id, permission FROM role_permissions ORDER BY permission";
    PUT = "
        INSERT INTO roles (id, tenant_id, owner_key, slug, name, description, scope, exclusive, auto_assigned, mfa_required,
                           landing, origin, retired, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, FALSE, $13, 1)
        ON CONFLICT (owner_key, slug) DO UPDATE
           SET name = excluded.name, description = excluded.description, scope = excluded.scope,
               exclusive = excluded.exclusive, auto_assigned = excluded.auto_assigned, mfa_required = excluded.mfa_required,
               landing = excluded.landing, origin = excluded.origin, retired = FALSE, version = roles.version + 1
        RETURNING id";
    DROP_PERMISSIONS = "DELETE FROM role_permissions WHERE role_id = $1";
    ADD_PERMISSION = "INSERT INTO role_permissions (role_id, permission) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    RETIRE = "UPDATE roles SET retired = TRUE, version = version + 1 WHERE id = $1";
    DROP = "DELETE FROM roles WHERE id = $1";
    HOLDERS = "SELECT count(*) AS n FROM assignments WHERE role_id = $1";
}

fn role(row: &Row) -> Result<Role, DbError> {
    Ok(Role {
        id: row.id("id")?,
        tenant: row.maybe_id("tenant_id")?,
        slug: row.parsed("slug")?,
        name: row.get("name")?,
        description: row.get("description")?,
        scope: row.word("scope", Scope::parse)?,
        permissions: Vec::new(),
        exclusive: row.get("exclusive")?,
        auto_assigned: row.get("auto_assigned")?,
        mfa: row.get("mfa_required")?,
        landing: row.maybe_parsed("landing")?,
        origin: row.parsed("origin")?,
    })
}

/// Every role in force, with its permissions.
///
/// # Errors
/// When the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<Role>, DbError> {
    let mut roles = conn.query(ALL_ROLES).all(role).await?;
    let pairs: Vec<(RoleId, PermissionPattern)> =
        conn.query(ALL_PERMISSIONS).all(|row| Ok((row.id("role_id")?, row.parsed("permission")?))).await?;
    let mut permissions: HashMap<RoleId, Vec<PermissionPattern>> = HashMap::new();
    for (id, permission) in pairs {
        permissions.entry(id).or_default().push(permission);
    }
    for role in &mut roles {
        role.permissions = permissions.remove(&role.id).unwrap_or_default();
    }
    Ok(roles)
}

/// Adds a role, or replaces the one with that slug in that tenant; its id.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, role: &Role, now: Timestamp) -> Result<RoleId, DbError> {
    let id: RoleId = tx
        .query(PUT)
        .bind(role.id.uuid())
        .bind(role.tenant.map(TenantId::uuid))
        .bind(role.tenant.map(|tenant| tenant.to_string()).unwrap_or_default())
        .bind(role.slug.as_str())
        .bind(&role.name)
        .bind(&role.description)
        .bind(role.scope.as_str())
        .bind(role.exclusive)
        .bind(role.auto_assigned)
        .bind(role.mfa)
        .bind(role.landing.as_ref().map(crate::domain::text::Slug::as_str))
        .bind(role.origin.to_string())
        .bind(now.millis())
        .one(|row| row.id("id"))
        .await?;
    tx.query(DROP_PERMISSIONS).bind(id.uuid()).run().await?;
    for permission in &role.permissions {
        tx.query(ADD_PERMISSION).bind(id.uuid()).bind(permission.to_string()).run().await?;
    }
    tx.changed(Change::Tree);
    Ok(id)
}

/// Takes a role out of force without forgetting who held it.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &mut Tx, id: RoleId) -> Result<(), DbError> {
    tx.query(RETIRE).bind(id.uuid()).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Deletes a role.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut Tx, id: RoleId) -> Result<(), DbError> {
    tx.query(DROP).bind(id.uuid()).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// How many assignments of a role there are.
///
/// # Errors
/// When the database fails.
pub async fn holders(conn: &mut Conn, id: RoleId) -> Result<i64, DbError> {
    conn.query(HOLDERS).bind(id.uuid()).one(|row| row.get("n")).await
}
