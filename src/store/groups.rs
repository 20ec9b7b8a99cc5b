//! Groups of a tenant and who is in them.

use super::statement::statements;
use super::{Conn, DbError, Tx, users};
use crate::domain::ids::Id as _;
use crate::domain::{Change, GroupId, Origin, Slug, TenantId, Timestamp, UserId};

statements! {
    ALL_GROUPS = "SELECT id, tenant_id, slug, origin FROM groups WHERE retired = FALSE ORDER BY slug, id";
    PUT = "
        INSERT INTO groups (id, tenant_id, slug, origin, retired, created_at) VALUES ($1, $2, $3, $4, FALSE, $5)
        ON CONFLICT (tenant_id, slug) DO UPDATE
           SET origin = CASE WHEN groups.retired = TRUE THEN excluded.origin ELSE groups.origin END, retired = FALSE
        RETURNING id";
    OF = "
        SELECT g.id AS id, g.tenant_id AS tenant_id, g.slug AS slug, m.origin AS origin
          FROM group_members m JOIN groups g ON g.id = m.group_id
         WHERE m.user_id = $1 AND g.retired = FALSE ORDER BY g.slug, g.id";
    JOIN = "
        INSERT INTO group_members (group_id, user_id, tenant_id, origin, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    LEAVE = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2 AND origin = $3";
    LEAVE_TENANT = "DELETE FROM group_members WHERE user_id = $1 AND tenant_id = $2";
    LEAVE_ALL = "DELETE FROM group_members WHERE user_id = $1";
    MEMBERS = "SELECT user_id, origin FROM group_members WHERE group_id = $1 ORDER BY user_id, origin";
    EMPTY = "DELETE FROM group_members WHERE group_id = $1 RETURNING user_id";
    RETIRE = "UPDATE groups SET retired = TRUE WHERE id = $1";
    DROP = "DELETE FROM groups WHERE id = $1";
}

/// A group; from `of`, the origin is the membership's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Its name.
    pub slug: Slug,
    /// Where it, or the membership, comes from.
    pub origin: Origin,
}

fn group(row: &super::Row) -> Result<Group, DbError> {
    Ok(Group {
        id: row.id("id")?,
        tenant: row.id("tenant_id")?,
        slug: row.parsed("slug")?,
        origin: row.parsed("origin")?,
    })
}

/// Every group.
///
/// # Errors
/// When the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<Group>, DbError> {
    conn.query(ALL_GROUPS).all(group).await
}

/// The group of that name, made if it does not exist; its id. A retired one comes back, with whoever was in it.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, group: &Group, now: Timestamp) -> Result<GroupId, DbError> {
    let id = tx
        .query(PUT)
        .bind(group.id.uuid())
        .bind(group.tenant.uuid())
        .bind(group.slug.as_str())
        .bind(group.origin.to_string())
        .bind(now.millis())
        .one(|row| row.id("id"))
        .await?;
    tx.changed(Change::Tree);
    Ok(id)
}

/// The groups somebody is in.
///
/// # Errors
/// When the database fails.
pub async fn of(conn: &mut Conn, user: UserId) -> Result<Vec<Group>, DbError> {
    conn.query(OF).bind(user.uuid()).all(group).await
}

/// Puts somebody into a group.
///
/// # Errors
/// When the database fails.
pub async fn join(
    tx: &mut Tx,
    group: &Group,
    user: UserId,
    origin: &Origin,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(JOIN)
        .bind(group.id.uuid())
        .bind(user.uuid())
        .bind(group.tenant.uuid())
        .bind(origin.to_string())
        .bind(now.millis())
        .run()
        .await?;
    users::touch(tx, user).await
}

/// Takes somebody out of a group.
///
/// # Errors
/// When the database fails.
pub async fn leave(tx: &mut Tx, group: GroupId, user: UserId, origin: &Origin) -> Result<bool, DbError> {
    let gone = tx.query(LEAVE).bind(group.uuid()).bind(user.uuid()).bind(origin.to_string()).run().await? > 0;
    users::touch(tx, user).await?;
    Ok(gone)
}

/// Who is in a group, and from where.
///
/// # Errors
/// When the database fails.
pub async fn members(conn: &mut Conn, group: GroupId) -> Result<Vec<(UserId, Origin)>, DbError> {
    conn.query(MEMBERS).bind(group.uuid()).all(|row| Ok((row.id("user_id")?, row.parsed("origin")?))).await
}

/// Takes everybody out of a group; how many entries that were.
///
/// # Errors
/// When the database fails.
pub async fn empty(tx: &mut Tx, group: GroupId) -> Result<usize, DbError> {
    let members: Vec<UserId> = tx.query(EMPTY).bind(group.uuid()).all(|row| row.id("user_id")).await?;
    for user in &members {
        users::touch(tx, *user).await?;
    }
    Ok(members.len())
}

/// Takes a group out of force without forgetting who was in it.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &mut Tx, group: GroupId) -> Result<(), DbError> {
    tx.query(RETIRE).bind(group.uuid()).run().await?;
    for (user, _) in members(tx, group).await? {
        users::touch(tx, user).await?;
    }
    tx.changed(Change::Tree);
    Ok(())
}

/// Deletes a group; whoever was in it is not any more.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut Tx, group: GroupId) -> Result<(), DbError> {
    empty(tx, group).await?;
    tx.query(DROP).bind(group.uuid()).run().await?;
    tx.changed(Change::Tree);
    Ok(())
}

/// Takes somebody out of every group of a tenant, or of all.
///
/// # Errors
/// When the database fails.
pub async fn leave_all(tx: &mut Tx, user: UserId, tenant: Option<TenantId>) -> Result<(), DbError> {
    match tenant {
        Some(tenant) => tx.query(LEAVE_TENANT).bind(user.uuid()).bind(tenant.uuid()).run().await?,
        None => tx.query(LEAVE_ALL).bind(user.uuid()).run().await?,
    };
    users::touch(tx, user).await
}
