//! Tenants with their domains, organisations and departments.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::ids::Id as _;
use crate::domain::user::Suspension;
use crate::domain::{Change, DepartmentId, Hostname, OrgId, Origin, Slug, TenantId, Timestamp, UserId};

statements! {
    ALL_TENANTS = "
        SELECT id, slug, name, plan, status, suspended_by, suspended_at, suspended_reason, suspended_until, owner_id,
               mfa_required, origin, created_at
          FROM tenants WHERE status <> 'retired' ORDER BY slug";
    BY_SLUG = "
        SELECT id, slug, name, plan, status, suspended_by, suspended_at, suspended_reason, suspended_until, owner_id,
               mfa_required, origin, created_at
          FROM tenants WHERE slug = $1";
    ADD = "
        INSERT INTO tenants (id, slug, name, plan, status, owner_id, mfa_required, origin, created_at, version)
        VALUES ($1, $2, $3, $4, 'active', NULL, $5, $6, $7, 1)";
    EDIT = "
        UPDATE tenants SET name = $2, plan = $3, mfa_required = $4, origin = $5,
               status = CASE WHEN status <> 'retired' THEN status WHEN suspended_at IS NULL THEN 'active' ELSE 'suspended' END,
               version = version + 1
         WHERE id = $1";
    RETIRE = "UPDATE tenants SET status = 'retired', version = version + 1 WHERE id = $1";
    SET_STATUS = "
        UPDATE tenants SET status = $2, suspended_by = $3, suspended_at = $4, suspended_reason = $5, suspended_until = $6,
               version = version + 1
         WHERE id = $1";
    SET_OWNER = "UPDATE tenants SET owner_id = $2, version = version + 1 WHERE id = $1";
    OWNED_BY = "SELECT slug FROM tenants WHERE owner_id = $1 AND status <> 'retired' ORDER BY slug";
    ALL_DOMAINS = "SELECT domain, tenant_id FROM tenant_domains ORDER BY domain";
    ADD_DOMAIN = "INSERT INTO tenant_domains (domain, tenant_id) VALUES ($1, $2)";
    DROP_DOMAINS = "DELETE FROM tenant_domains WHERE tenant_id = $1";
    ALL_ORGS = "SELECT id, tenant_id, slug, name, origin FROM orgs WHERE retired = FALSE ORDER BY slug";
    PUT_ORG = "
        INSERT INTO orgs (id, tenant_id, slug, name, origin, retired, created_at) VALUES ($1, $2, $3, $4, $5, FALSE, $6)
        ON CONFLICT (tenant_id, slug) DO UPDATE SET name = excluded.name, origin = excluded.origin, retired = FALSE
        RETURNING id";
    RETIRE_ORG = "UPDATE orgs SET retired = TRUE WHERE id = $1";
    ALL_DEPARTMENTS = "
        SELECT id, tenant_id, org_id, slug, name, origin FROM departments WHERE retired = FALSE ORDER BY slug";
    PUT_DEPARTMENT = "
        INSERT INTO departments (id, tenant_id, org_id, slug, name, origin, retired, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7)
        ON CONFLICT (org_id, slug) DO UPDATE SET name = excluded.name, origin = excluded.origin, retired = FALSE
        RETURNING id";
    RETIRE_DEPARTMENT = "UPDATE departments SET retired = TRUE WHERE id = $1";
}

/// A tenant as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Which.
    pub id: TenantId,
    /// Its name in files and addresses.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Its plan.
    pub plan: String,
    /// `active`, `pending`, `suspended` or `retired`.
    pub status: String,
    /// Set while suspended.
    pub suspension: Option<Suspension>,
    /// Who owns it.
    pub owner: Option<UserId>,
    /// Whether its members must use a second factor.
    pub mfa_required: bool,
    /// Who may change it.
    pub origin: Origin,
    /// Since when.
    pub created_at: Timestamp,
}

impl Tenant {
    /// Whether it is in force.
    #[must_use]
    pub fn active_at(&self, now: Timestamp) -> bool {
        match self.status.as_str() {
            "active" => true,
            "suspended" => self.suspension.as_ref().and_then(|s| s.until).is_some_and(|until| until <= now),
            _ => false,
        }
    }
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Org {
    /// Which.
    pub id: OrgId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Its name in files.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Who may change it.
    pub origin: Origin,
}

/// A department.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Department {
    /// Which.
    pub id: DepartmentId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Of which organisation.
    pub org: OrgId,
    /// Its name in files.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Who may change it.
    pub origin: Origin,
}

fn tenant(row: &Row) -> Result<Tenant, DbError> {
    let suspension = match row.maybe_time("suspended_at")? {
        None => None,
        Some(at) => Some(Suspension {
            by: row.get::<Option<String>>("suspended_by")?.unwrap_or_default(),
            at,
            reason: row.get::<Option<String>>("suspended_reason")?.unwrap_or_default(),
            until: row.maybe_time("suspended_until")?,
        }),
    };
    Ok(Tenant {
        id: row.id("id")?,
        slug: row.parsed("slug")?,
        name: row.get("name")?,
        plan: row.get("plan")?,
        status: row.get("status")?,
        suspension,
        owner: row.maybe_id("owner_id")?,
        mfa_required: row.get("mfa_required")?,
        origin: row.parsed("origin")?,
        created_at: row.time("created_at")?,
    })
}

/// Every tenant that is not retired.
///
/// # Errors
/// When the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<Tenant>, DbError> {
    conn.query(ALL_TENANTS).all(tenant).await
}

/// A tenant by name, also a retired one.
///
/// # Errors
/// When the database fails.
pub async fn by_slug(conn: &mut Conn, slug: &Slug) -> Result<Option<Tenant>, DbError> {
    conn.query(BY_SLUG).bind(slug.as_str()).optional(tenant).await
}

/// Adds a tenant.
///
/// # Errors
/// [`DbError::Conflict`] when the slug is taken.
pub async fn add(tx: &mut Tx, tenant: &Tenant) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(tenant.id.uuid())
        .bind(tenant.slug.as_str())
        .bind(&tenant.name)
        .bind(&tenant.plan)
        .bind(tenant.mfa_required)
        .bind(tenant.origin.to_string())
        .bind(tenant.created_at.millis())
        .run()
        .await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Writes name, plan, second-factor rule and origin; brings a retired tenant back.
///
/// # Errors
/// When the database fails.
pub async fn edit(tx: &mut Tx, tenant: &Tenant) -> Result<(), DbError> {
    tx.query(EDIT)
        .bind(tenant.id.uuid())
        .bind(&tenant.name)
        .bind(&tenant.plan)
        .bind(tenant.mfa_required)
        .bind(tenant.origin.to_string())
        .run()
        .await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Sets the status: `active`, `suspended` with why, `retired`.
///
/// # Errors
/// When the database fails.
pub async fn set_status(
    tx: &mut Tx,
    id: TenantId,
    status: &str,
    why: Option<&Suspension>,
) -> Result<(), DbError> {
    tx.query(SET_STATUS)
        .bind(id.uuid())
        .bind(status)
        .bind(why.map(|why| why.by.as_str()))
        .bind(why.map(|why| why.at.millis()))
        .bind(why.map(|why| why.reason.as_str()))
        .bind(why.and_then(|why| why.until).map(Timestamp::millis))
        .run()
        .await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Takes a tenant out of force until it is declared again; then it is as suspended as it was.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &mut Tx, id: TenantId) -> Result<(), DbError> {
    tx.query(RETIRE).bind(id.uuid()).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Passes a tenant to another owner.
///
/// # Errors
/// When the database fails.
pub async fn set_owner(tx: &mut Tx, id: TenantId, owner: Option<UserId>) -> Result<(), DbError> {
    tx.query(SET_OWNER).bind(id.uuid()).bind(owner.map(UserId::uuid)).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// The slugs of the tenants that somebody owns.
///
/// # Errors
/// When the database fails.
pub async fn owned_by(conn: &mut Conn, user: UserId) -> Result<Vec<String>, DbError> {
    conn.query(OWNED_BY).bind(user.uuid()).all(|row| row.get("slug")).await
}

/// Every verified domain and whose it is.
///
/// # Errors
/// When the database fails.
pub async fn domains(conn: &mut Conn) -> Result<Vec<(Hostname, TenantId)>, DbError> {
    conn.query(ALL_DOMAINS).all(|row| Ok((row.parsed("domain")?, row.id("tenant_id")?))).await
}

/// Replaces the verified domains of a tenant.
///
/// # Errors
/// [`DbError::Conflict`] when another tenant has one of them.
pub async fn set_domains(tx: &mut Tx, id: TenantId, domains: &[Hostname]) -> Result<(), DbError> {
    tx.query(DROP_DOMAINS).bind(id.uuid()).run().await?;
    for domain in domains {
        tx.query(ADD_DOMAIN).bind(domain.as_str()).bind(id.uuid()).run().await?;
    }
    tx.changed(Change::Tree);
    Ok(())
}

/// Every organisation in force.
///
/// # Errors
/// When the database fails.
pub async fn orgs(conn: &mut Conn) -> Result<Vec<Org>, DbError> {
    conn.query(ALL_ORGS)
        .all(|row| {
            Ok(Org {
                id: row.id("id")?,
                tenant: row.id("tenant_id")?,
                slug: row.parsed("slug")?,
                name: row.get("name")?,
                origin: row.parsed("origin")?,
            })
        })
        .await
}

/// Adds an organisation, or renames the one with that slug; its id.
///
/// # Errors
/// When the database fails.
pub async fn put_org(tx: &mut Tx, org: &Org, now: Timestamp) -> Result<OrgId, DbError> {
    let id = tx
        .query(PUT_ORG)
        .bind(org.id.uuid())
        .bind(org.tenant.uuid())
        .bind(org.slug.as_str())
        .bind(&org.name)
        .bind(org.origin.to_string())
        .bind(now.millis())
        .one(|row| row.id("id"))
        .await?;
    tx.changed(Change::Tree);
    Ok(id)
}

/// Takes an organisation out of force.
///
/// # Errors
/// When the database fails.
pub async fn retire_org(tx: &mut Tx, id: OrgId) -> Result<(), DbError> {
    tx.query(RETIRE_ORG).bind(id.uuid()).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Every department in force.
///
/// # Errors
/// When the database fails.
pub async fn departments(conn: &mut Conn) -> Result<Vec<Department>, DbError> {
    conn.query(ALL_DEPARTMENTS)
        .all(|row| {
            Ok(Department {
                id: row.id("id")?,
                tenant: row.id("tenant_id")?,
                org: row.id("org_id")?,
                slug: row.parsed("slug")?,
                name: row.get("name")?,
                origin: row.parsed("origin")?,
            })
        })
        .await
}

/// Adds a department, or renames the one with that slug; its id.
///
/// # Errors
/// When the database fails.
pub async fn put_department(
    tx: &mut Tx,
    department: &Department,
    now: Timestamp,
) -> Result<DepartmentId, DbError> {
    let id = tx
        .query(PUT_DEPARTMENT)
        .bind(department.id.uuid())
        .bind(department.tenant.uuid())
        .bind(department.org.uuid())
        .bind(department.slug.as_str())
        .bind(&department.name)
        .bind(department.origin.to_string())
        .bind(now.millis())
        .one(|row| row.id("id"))
        .await?;
    tx.changed(Change::Tree);
    Ok(id)
}

/// Takes a department out of force.
///
/// # Errors
/// When the database fails.
pub async fn retire_department(tx: &mut Tx, id: DepartmentId) -> Result<(), DbError> {
    tx.query(RETIRE_DEPARTMENT).bind(id.uuid()).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}
