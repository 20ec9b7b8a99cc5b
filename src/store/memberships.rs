//! Which tenants somebody belongs to, and where in them.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx, users};
use crate::domain::ids::Id as _;
use crate::domain::{DepartmentId, OrgId, Origin, TenantId, Timestamp, UserId};

statements! {
    OF = "
        SELECT user_id, tenant_id, org_id, department_id, origin FROM memberships WHERE user_id = $1 ORDER BY created_at, tenant_id";
    IN_TENANT = "
        SELECT user_id, tenant_id, org_id, department_id, origin FROM memberships WHERE tenant_id = $1 ORDER BY user_id";
    PUT = "
        INSERT INTO memberships (user_id, tenant_id, org_id, department_id, origin, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (user_id, tenant_id) DO UPDATE SET org_id = excluded.org_id, department_id = excluded.department_id";
    DROP = "DELETE FROM memberships WHERE user_id = $1 AND tenant_id = $2";
    DROP_ALL = "DELETE FROM memberships WHERE user_id = $1";
    COUNT = "SELECT count(*) AS n FROM memberships WHERE tenant_id = $1";
    LEAVE_ORG = "
        UPDATE memberships SET org_id = NULL, department_id = NULL WHERE org_id = $1 RETURNING user_id";
    LEAVE_DEPARTMENT = "UPDATE memberships SET department_id = NULL WHERE department_id = $1 RETURNING user_id";
}

/// Somebody's place in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Who.
    pub user: UserId,
    /// In which tenant.
    pub tenant: TenantId,
    /// In which organisation of it.
    pub org: Option<OrgId>,
    /// In which department of that.
    pub department: Option<DepartmentId>,
    /// Where the membership comes from.
    pub origin: Origin,
}

fn membership(row: &Row) -> Result<Membership, DbError> {
    Ok(Membership {
        user: row.id("user_id")?,
        tenant: row.id("tenant_id")?,
        org: row.maybe_id("org_id")?,
        department: row.maybe_id("department_id")?,
        origin: row.parsed("origin")?,
    })
}

/// Where somebody belongs.
///
/// # Errors
/// When the database fails.
pub async fn of(conn: &mut Conn, user: UserId) -> Result<Vec<Membership>, DbError> {
    conn.query(OF).bind(user.uuid()).all(membership).await
}

/// Who belongs to a tenant.
///
/// # Errors
/// When the database fails.
pub async fn in_tenant(conn: &mut Conn, tenant: TenantId) -> Result<Vec<Membership>, DbError> {
    conn.query(IN_TENANT).bind(tenant.uuid()).all(membership).await
}

/// How many belong to a tenant.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut Conn, tenant: TenantId) -> Result<i64, DbError> {
    conn.query(COUNT).bind(tenant.uuid()).one(|row| row.get("n")).await
}

/// Makes somebody a member, or moves them within the tenant.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, membership: &Membership, now: Timestamp) -> Result<(), DbError> {
    tx.query(PUT)
        .bind(membership.user.uuid())
        .bind(membership.tenant.uuid())
        .bind(membership.org.map(OrgId::uuid))
        .bind(membership.department.map(DepartmentId::uuid))
        .bind(membership.origin.to_string())
        .bind(now.millis())
        .run()
        .await?;
    users::touch(tx, membership.user).await
}

/// Takes everybody out of an organisation, not out of its tenant; how many that were.
///
/// # Errors
/// When the database fails.
pub async fn leave_org(tx: &mut Tx, org: OrgId) -> Result<usize, DbError> {
    let moved: Vec<UserId> = tx.query(LEAVE_ORG).bind(org.uuid()).all(|row| row.id("user_id")).await?;
    for user in &moved {
        users::touch(tx, *user).await?;
    }
    Ok(moved.len())
}

/// Takes everybody out of a department, not out of its organisation; how many that were.
///
/// # Errors
/// When the database fails.
pub async fn leave_department(tx: &mut Tx, department: DepartmentId) -> Result<usize, DbError> {
    let moved: Vec<UserId> =
        tx.query(LEAVE_DEPARTMENT).bind(department.uuid()).all(|row| row.id("user_id")).await?;
    for user in &moved {
        users::touch(tx, *user).await?;
    }
    Ok(moved.len())
}

/// Takes somebody out of a tenant, or out of all.
///
/// # Errors
/// When the database fails.
pub async fn drop(tx: &mut Tx, user: UserId, tenant: Option<TenantId>) -> Result<(), DbError> {
    match tenant {
        Some(tenant) => tx.query(DROP).bind(user.uuid()).bind(tenant.uuid()).run().await?,
        None => tx.query(DROP_ALL).bind(user.uuid()).run().await?,
    };
    users::touch(tx, user).await
}
