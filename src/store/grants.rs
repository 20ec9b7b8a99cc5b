//! Who holds what, where, and from where: roles and direct permissions.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx, users};
use crate::domain::ids::Id as _;
use crate::domain::{
    AssignmentId, DepartmentId, OrgId, Origin, PermissionPattern, Place, RoleId, TenantId, Timestamp, UserId,
};

statements! {
    OF = "
        SELECT id, user_id, role_id, tenant_id, org_id, department_id, origin, granted_by, granted_at
          FROM assignments WHERE user_id = $1 ORDER BY granted_at, id";
    WITH_ROLE = "
        SELECT id, user_id, role_id, tenant_id, org_id, department_id, origin, granted_by, granted_at
          FROM assignments WHERE role_id = $1 ORDER BY granted_at, id";
    ASSIGN = "
        INSERT INTO assignments (id, user_id, role_id, tenant_id, org_id, department_id, place_key, origin, granted_by,
                                 granted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (user_id, role_id, place_key, origin) DO NOTHING";
    REVOKE = "DELETE FROM assignments WHERE user_id = $1 AND role_id = $2 AND place_key = $3 AND origin = $4";
    REVOKE_ALL = "DELETE FROM assignments WHERE user_id = $1";
    DIRECT_OF = "
        SELECT id, user_id, permission, tenant_id, org_id, department_id, origin, granted_by, granted_at
          FROM direct_grants WHERE user_id = $1 ORDER BY granted_at, id";
    GRANT = "
        INSERT INTO direct_grants (id, user_id, permission, tenant_id, org_id, department_id, place_key, origin, granted_by,
                                   granted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (user_id, permission, place_key, origin) DO NOTHING";
    WITHDRAW = "DELETE FROM direct_grants WHERE user_id = $1 AND permission = $2 AND place_key = $3 AND origin = $4";
    WITHDRAW_ALL = "DELETE FROM direct_grants WHERE user_id = $1";
    CLEAR_TENANT = "DELETE FROM assignments WHERE tenant_id = $1 RETURNING user_id";
    CLEAR_ORG = "DELETE FROM assignments WHERE org_id = $1 RETURNING user_id";
    CLEAR_DEPARTMENT = "DELETE FROM assignments WHERE department_id = $1 RETURNING user_id";
    CLEAR_ROLE = "DELETE FROM assignments WHERE role_id = $1 RETURNING user_id";
    CLEAR_DIRECT_TENANT = "DELETE FROM direct_grants WHERE tenant_id = $1 RETURNING user_id";
    CLEAR_DIRECT_ORG = "DELETE FROM direct_grants WHERE org_id = $1 RETURNING user_id";
    CLEAR_DIRECT_DEPARTMENT = "DELETE FROM direct_grants WHERE department_id = $1 RETURNING user_id";
    EVERYWHERE = "
        SELECT DISTINCT a.user_id AS user_id
          FROM assignments a JOIN users u ON u.id = a.user_id
         WHERE a.role_id = $1 AND a.place_key = '' AND u.kind = 'admin'
           AND (u.status = 'active' OR (u.status = 'suspended' AND u.suspended_until <= $2))
         ORDER BY user_id";
    HOLDERS_IN_FORCE = "
        SELECT count(DISTINCT a.user_id) AS n
          FROM assignments a JOIN users u ON u.id = a.user_id
         WHERE a.role_id = $1 AND (a.tenant_id = $2 OR $2 IS NULL) AND u.status = 'active' AND u.id <> $3";
}

/// A role given to somebody at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Which.
    pub id: AssignmentId,
    /// To whom.
    pub user: UserId,
    /// Which role.
    pub role: RoleId,
    /// Where it holds.
    pub place: Place,
    /// From where it came.
    pub origin: Origin,
    /// Who gave it, in words.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A permission given to somebody without a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectGrant {
    /// Which.
    pub id: AssignmentId,
    /// To whom.
    pub user: UserId,
    /// What.
    pub permission: PermissionPattern,
    /// Where it holds.
    pub place: Place,
    /// From where it came.
    pub origin: Origin,
    /// Who gave it, in words.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

fn place(row: &Row) -> Result<Place, DbError> {
    let tenant: Option<TenantId> = row.maybe_id("tenant_id")?;
    let org: Option<OrgId> = row.maybe_id("org_id")?;
    let department: Option<DepartmentId> = row.maybe_id("department_id")?;
    match (tenant, org, department) {
        (None, None, None) => Ok(Place::Global),
        (Some(tenant), None, None) => Ok(Place::Tenant(tenant)),
        (Some(tenant), Some(org), None) => Ok(Place::Org(tenant, org)),
        (Some(tenant), Some(org), Some(department)) => Ok(Place::Department(tenant, org, department)),
        _ => Err(row.corrupt("org_id", &"a place has a level without the one above")),
    }
}

/// A place as text, for the unique key.
fn place_key(place: Place) -> String {
    let parts = [
        place.tenant().map(|id| id.to_string()),
        place.org().map(|id| id.to_string()),
        place.department().map(|id| id.to_string()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("/")
}

fn assignment(row: &Row) -> Result<Assignment, DbError> {
    Ok(Assignment {
        id: row.id("id")?,
        user: row.id("user_id")?,
        role: row.id("role_id")?,
        place: place(row)?,
        origin: row.parsed("origin")?,
        by: row.get("granted_by")?,
        at: row.time("granted_at")?,
    })
}

/// The roles somebody holds.
///
/// # Errors
/// When the database fails.
pub async fn assignments_of(conn: &mut Conn, user: UserId) -> Result<Vec<Assignment>, DbError> {
    conn.query(OF).bind(user.uuid()).all(assignment).await
}

/// Who holds a role.
///
/// # Errors
/// When the database fails.
pub async fn holders_of(conn: &mut Conn, role: RoleId) -> Result<Vec<Assignment>, DbError> {
    conn.query(WITH_ROLE).bind(role.uuid()).all(assignment).await
}

/// Gives a role; false when it was given already.
///
/// # Errors
/// When the database fails.
pub async fn assign(tx: &mut Tx, given: &Assignment) -> Result<bool, DbError> {
    let new = tx
        .query(ASSIGN)
        .bind(given.id.uuid())
        .bind(given.user.uuid())
        .bind(given.role.uuid())
        .bind(given.place.tenant().map(TenantId::uuid))
        .bind(given.place.org().map(OrgId::uuid))
        .bind(given.place.department().map(DepartmentId::uuid))
        .bind(place_key(given.place))
        .bind(given.origin.to_string())
        .bind(&given.by)
        .bind(given.at.millis())
        .run()
        .await?
        > 0;
    users::touch(tx, given.user).await?;
    Ok(new)
}

/// Takes a role back; false when it was not given there, or not from there.
///
/// # Errors
/// When the database fails.
pub async fn revoke(
    tx: &mut Tx,
    user: UserId,
    role: RoleId,
    at: Place,
    origin: &Origin,
) -> Result<bool, DbError> {
    let gone = tx
        .query(REVOKE)
        .bind(user.uuid())
        .bind(role.uuid())
        .bind(place_key(at))
        .bind(origin.to_string())
        .run()
        .await?
        > 0;
    users::touch(tx, user).await?;
    Ok(gone)
}

/// The permissions somebody was given directly.
///
/// # Errors
/// When the database fails.
pub async fn direct_of(conn: &mut Conn, user: UserId) -> Result<Vec<DirectGrant>, DbError> {
    conn.query(DIRECT_OF)
        .bind(user.uuid())
        .all(|row| {
            Ok(DirectGrant {
                id: row.id("id")?,
                user: row.id("user_id")?,
                permission: row.parsed("permission")?,
                place: place(row)?,
                origin: row.parsed("origin")?,
                by: row.get("granted_by")?,
                at: row.time("granted_at")?,
            })
        })
        .await
}

/// Gives a permission directly; false when it was given already.
///
/// # Errors
/// When the database fails.
pub async fn grant(tx: &mut Tx, given: &DirectGrant) -> Result<bool, DbError> {
    let new = tx
        .query(GRANT)
        .bind(given.id.uuid())
        .bind(given.user.uuid())
        .bind(given.permission.to_string())
        .bind(given.place.tenant().map(TenantId::uuid))
        .bind(given.place.org().map(OrgId::uuid))
        .bind(given.place.department().map(DepartmentId::uuid))
        .bind(place_key(given.place))
        .bind(given.origin.to_string())
        .bind(&given.by)
        .bind(given.at.millis())
        .run()
        .await?
        > 0;
    users::touch(tx, given.user).await?;
    Ok(new)
}

/// Takes a direct permission back; false when it was not given there, or not from there.
///
/// # Errors
/// When the database fails.
pub async fn withdraw(
    tx: &mut Tx,
    user: UserId,
    permission: &PermissionPattern,
    at: Place,
    origin: &Origin,
) -> Result<bool, DbError> {
    let gone = tx
        .query(WITHDRAW)
        .bind(user.uuid())
        .bind(permission.to_string())
        .bind(place_key(at))
        .bind(origin.to_string())
        .run()
        .await?
        > 0;
    users::touch(tx, user).await?;
    Ok(gone)
}

/// Takes everything back that somebody holds.
///
/// # Errors
/// When the database fails.
pub async fn revoke_everything(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    tx.query(REVOKE_ALL).bind(user.uuid()).run().await?;
    tx.query(WITHDRAW_ALL).bind(user.uuid()).run().await?;
    users::touch(tx, user).await
}

/// Takes back everything that was given at a place or within it, from everybody. `Global` means nothing here.
///
/// # Errors
/// When the database fails.
pub async fn clear_at(tx: &mut Tx, place: Place) -> Result<(), DbError> {
    let (roles, direct, id) = match place {
        Place::Global => return Ok(()),
        Place::Tenant(tenant) => (CLEAR_TENANT, CLEAR_DIRECT_TENANT, tenant.uuid()),
        Place::Org(_, org) => (CLEAR_ORG, CLEAR_DIRECT_ORG, org.uuid()),
        Place::Department(_, _, department) => (CLEAR_DEPARTMENT, CLEAR_DIRECT_DEPARTMENT, department.uuid()),
    };
    for sql in [roles, direct] {
        let lost: Vec<UserId> = tx.query(sql).bind(id).all(|row| row.id("user_id")).await?;
        for user in lost {
            users::touch(tx, user).await?;
        }
    }
    Ok(())
}

/// Takes a role back from everybody.
///
/// # Errors
/// When the database fails.
pub async fn clear_role(tx: &mut Tx, role: RoleId) -> Result<(), DbError> {
    let lost: Vec<UserId> = tx.query(CLEAR_ROLE).bind(role.uuid()).all(|row| row.id("user_id")).await?;
    for user in lost {
        users::touch(tx, user).await?;
    }
    Ok(())
}

/// Who hold a role of the whole system and can use it: administrators by kind whose status is active, or whose
/// suspension has run out.
///
/// # Errors
/// When the database fails.
pub async fn usable_everywhere(
    conn: &mut Conn,
    role: RoleId,
    now: Timestamp,
) -> Result<Vec<UserId>, DbError> {
    conn.query(EVERYWHERE).bind(role.uuid()).bind(now.millis()).all(|row| row.id("user_id")).await
}

/// How many active people other than `except` hold a role, in a tenant if one is named.
///
/// # Errors
/// When the database fails.
pub async fn other_holders(
    conn: &mut Conn,
    role: RoleId,
    tenant: Option<TenantId>,
    except: UserId,
) -> Result<i64, DbError> {
    conn.query(HOLDERS_IN_FORCE)
        .bind(role.uuid())
        .bind(tenant.map(TenantId::uuid))
        .bind(except.uuid())
        .one(|row| row.get("n"))
        .await
}
