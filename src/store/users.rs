//! People.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::ids::Id as _;
use crate::domain::user::Suspension;
use crate::domain::{
    AccountKind, Change, EmailAddress, Hostname, RoleId, Status, TenantId, Timestamp, User, UserId, Username,
};

statements! {
    BY_ID = "
        SELECT id, username, name, email, sign_in_email, kind, status, suspended_by, suspended_at, suspended_reason,
               suspended_until, must_change_password, last_sign_in_at, created_at, version
          FROM users WHERE id = $1";
    BY_USERNAME = "
        SELECT id, username, name, email, sign_in_email, kind, status, suspended_by, suspended_at, suspended_reason,
               suspended_until, must_change_password, last_sign_in_at, created_at, version
          FROM users WHERE username = $1";
    BY_EMAIL = "
        SELECT id, username, name, email, sign_in_email, kind, status, suspended_by, suspended_at, suspended_reason,
               suspended_until, must_change_password, last_sign_in_at, created_at, version
          FROM users WHERE sign_in_email = $1";
    PAGE = "
        SELECT id, username, name, email, sign_in_email, kind, status, suspended_by, suspended_at, suspended_reason,
               suspended_until, must_change_password, last_sign_in_at, created_at, version
          FROM users
         WHERE (created_at, id) < ($1, $2)
           AND (status = $3 OR $3 IS NULL)
           AND (status <> 'deleted' OR $3 IS NOT NULL)
           AND (username LIKE $4 ESCAPE '!' OR email LIKE $4 ESCAPE '!' OR $4 IS NULL)
           AND (EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = users.id AND m.tenant_id = $5) OR $5 IS NULL)
           AND (EXISTS (SELECT 1 FROM assignments a WHERE a.user_id = users.id AND a.role_id = $6) OR $6 IS NULL)
         ORDER BY created_at DESC, id DESC
         LIMIT $7";
    WITH_EMAIL_LIKE = "
        SELECT id, username, name, email, sign_in_email, kind, status, suspended_by, suspended_at, suspended_reason,
               suspended_until, must_change_password, last_sign_in_at, created_at, version
          FROM users WHERE email LIKE $1 ESCAPE '!' ORDER BY created_at, id";
    ADD = "
        INSERT INTO users (id, username, name, email, sign_in_email, kind, status, must_change_password, epoch, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 1)";
    EDIT = "
        UPDATE users SET name = $2, email = $3, sign_in_email = $4, kind = $5, version = version + 1 WHERE id = $1";
    SET_STATUS = "
        UPDATE users SET status = $2, suspended_by = $3, suspended_at = $4, suspended_reason = $5, suspended_until = $6,
               version = version + 1
         WHERE id = $1 AND status <> 'deleted'";
    MUST_CHANGE = "UPDATE users SET must_change_password = $2, version = version + 1 WHERE id = $1";
    SIGNED_IN = "UPDATE users SET last_sign_in_at = $2 WHERE id = $1";
    BURY = "
        UPDATE users SET status = 'deleted', name = '-', email = NULL, sign_in_email = NULL, suspended_by = NULL,
               suspended_at = NULL, suspended_reason = NULL, suspended_until = NULL, version = version + 1
         WHERE id = $1";
    ANY = "SELECT EXISTS (SELECT 1 FROM users) AS present";
    EPOCH = "SELECT epoch FROM users WHERE id = $1";
    HOLD = "UPDATE users SET epoch = epoch WHERE id = $1 RETURNING epoch";
    NEXT_EPOCH = "UPDATE users SET epoch = epoch + 1 WHERE id = $1";
    TOUCH = "UPDATE users SET version = version + 1 WHERE id = $1";
}

fn user(row: &Row) -> Result<User, DbError> {
    let email: Option<EmailAddress> = row.maybe_parsed("email")?;
    let signs_in: Option<String> = row.get("sign_in_email")?;
    let suspension = match row.maybe_time("suspended_at")? {
        None => None,
        Some(at) => Some(Suspension {
            by: row.get::<Option<String>>("suspended_by")?.unwrap_or_default(),
            at,
            reason: row.get::<Option<String>>("suspended_reason")?.unwrap_or_default(),
            until: row.maybe_time("suspended_until")?,
        }),
    };
    Ok(User {
        id: row.id("id")?,
        username: row.parsed("username")?,
        name: row.parsed("name")?,
        email_verified: signs_in.is_some() && signs_in.as_deref() == email.as_ref().map(EmailAddress::as_str),
        email,
        kind: row.word("kind", AccountKind::parse)?,
        status: row.word("status", Status::parse)?,
        suspension,
        must_change_password: row.get("must_change_password")?,
        last_sign_in_at: row.maybe_time("last_sign_in_at")?,
        created_at: row.time("created_at")?,
        version: row.get("version")?,
    })
}

/// Somebody by id.
///
/// # Errors
/// When the database fails.
pub async fn by_id(conn: &mut Conn, id: UserId) -> Result<Option<User>, DbError> {
    conn.query(BY_ID).bind(id.uuid()).optional(user).await
}

/// Somebody by sign-in name.
///
/// # Errors
/// When the database fails.
pub async fn by_username(conn: &mut Conn, name: &Username) -> Result<Option<User>, DbError> {
    conn.query(BY_USERNAME).bind(name.as_str()).optional(user).await
}

/// Somebody by an address that signs in.
///
/// # Errors
/// When the database fails.
pub async fn by_sign_in_email(conn: &mut Conn, email: &EmailAddress) -> Result<Option<User>, DbError> {
    conn.query(BY_EMAIL).bind(email.as_str()).optional(user).await
}

/// Which people to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// With this status; otherwise everybody but the deleted.
    pub status: Option<Status>,
    /// Whose username or address contains this.
    pub like: Option<String>,
    /// Who belong to this tenant.
    pub tenant: Option<TenantId>,
    /// Who were given this role somewhere.
    pub role: Option<RoleId>,
    /// After this one, in the order of the list.
    pub after: Option<(Timestamp, UserId)>,
}

/// People, newest first.
///
/// # Errors
/// When the database fails.
pub async fn page(conn: &mut Conn, filter: &Filter, limit: i64) -> Result<Vec<User>, DbError> {
    let (at, id) = filter.after.map_or((i64::MAX, uuid::Uuid::max()), |(at, id)| (at.millis(), id.uuid()));
    let like = filter.like.as_ref().map(|text| format!("%{}%", escaped(text)));
    conn.query(PAGE)
        .bind(at)
        .bind(id)
        .bind(filter.status.map(Status::as_str))
        .bind(like)
        .bind(filter.tenant.map(TenantId::uuid))
        .bind(filter.role.map(RoleId::uuid))
        .bind(limit)
        .all(user)
        .await
}

/// Everybody whose address lies in a domain, those first who came first.
///
/// # Errors
/// When the database fails.
pub async fn with_email_in(conn: &mut Conn, domain: &Hostname) -> Result<Vec<User>, DbError> {
    conn.query(WITH_EMAIL_LIKE).bind(format!("%@{}", escaped(domain.as_str()))).all(user).await
}

/// Text for a pattern in which it stands for itself. Stored names and addresses are in lower case.
fn escaped(text: &str) -> String {
    text.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// Whether there is anybody.
///
/// # Errors
/// When the database fails.
pub async fn any(conn: &mut Conn) -> Result<bool, DbError> {
    conn.query(ANY).one(|row| row.get("present")).await
}

/// Adds somebody. The address signs in only if `signs_in`.
///
/// # Errors
/// [`DbError::Conflict`] `users_username_key` or `users_sign_in_email_key` when a name is taken.
pub async fn add(tx: &mut Tx, user: &User) -> Result<(), DbError> {
    let email = user.email.as_ref().map(EmailAddress::as_str);
    tx.query(ADD)
        .bind(user.id.uuid())
        .bind(user.username.as_str())
        .bind(user.name.as_str())
        .bind(email)
        .bind(email.filter(|_| user.email_verified))
        .bind(user.kind.as_str())
        .bind(user.status.as_str())
        .bind(user.must_change_password)
        .bind(user.created_at.millis())
        .run()
        .await
        .map(drop)
}

/// Writes name, address and kind.
///
/// # Errors
/// As [`add`].
pub async fn edit(tx: &mut Tx, user: &User) -> Result<(), DbError> {
    let email = user.email.as_ref().map(EmailAddress::as_str);
    tx.query(EDIT)
        .bind(user.id.uuid())
        .bind(user.name.as_str())
        .bind(email)
        .bind(email.filter(|_| user.email_verified))
        .bind(user.kind.as_str())
        .run()
        .await?;
    tx.changed(Change::Principal(user.id));
    Ok(())
}

/// Sets the status; a suspension only with `Suspended`.
///
/// # Errors
/// When the database fails.
pub async fn set_status(
    tx: &mut Tx,
    id: UserId,
    status: Status,
    why: Option<&Suspension>,
) -> Result<(), DbError> {
    tx.query(SET_STATUS)
        .bind(id.uuid())
        .bind(status.as_str())
        .bind(why.map(|why| why.by.as_str()))
        .bind(why.map(|why| why.at.millis()))
        .bind(why.map(|why| why.reason.as_str()))
        .bind(why.and_then(|why| why.until).map(Timestamp::millis))
        .run()
        .await?;
    next_epoch(tx, id).await?;
    tx.changed(Change::Principal(id));
    Ok(())
}

/// Says whether the password must be changed at the next sign-in.
///
/// # Errors
/// When the database fails.
pub async fn set_must_change(tx: &mut Tx, id: UserId, must: bool) -> Result<(), DbError> {
    tx.query(MUST_CHANGE).bind(id.uuid()).bind(must).run().await?;
    tx.changed(Change::Principal(id));
    Ok(())
}

/// Notes a complete sign-in. Tells nobody: nothing that is decided depends on it.
///
/// # Errors
/// When the database fails.
pub async fn signed_in(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<(), DbError> {
    tx.query(SIGNED_IN).bind(id.uuid()).bind(now.millis()).run().await.map(drop)
}

/// Takes everything personal away but the username, which stays reserved.
///
/// # Errors
/// When the database fails.
pub async fn bury(tx: &mut Tx, id: UserId) -> Result<(), DbError> {
    tx.query(BURY).bind(id.uuid()).run().await?;
    tx.changed(Change::Principal(id));
    Ok(())
}

/// Counts a change of something that belongs to the person: memberships, roles, groups, factors.
///
/// # Errors
/// When the database fails.
pub async fn touch(tx: &mut Tx, id: UserId) -> Result<(), DbError> {
    tx.query(TOUCH).bind(id.uuid()).run().await?;
    tx.changed(Change::Principal(id));
    Ok(())
}

/// The epoch of somebody's credentials. It moves on whenever what was proven before must not count any more: another
/// password, another factor, sessions ended, a suspension. A sign-in under way is bound to the epoch it began in.
///
/// # Errors
/// When the database fails.
pub async fn epoch(conn: &mut Conn, id: UserId) -> Result<Option<i64>, DbError> {
    conn.query(EPOCH).bind(id.uuid()).optional(|row| row.get("epoch")).await
}

/// The epoch, with the person's row held until the end of the transaction: whoever moves it on comes before or after.
///
/// # Errors
/// When the database fails.
pub async fn hold_epoch(tx: &mut Tx, id: UserId) -> Result<Option<i64>, DbError> {
    tx.query(HOLD).bind(id.uuid()).optional(|row| row.get("epoch")).await
}

/// Moves the epoch on.
///
/// # Errors
/// When the database fails.
pub async fn next_epoch(tx: &mut Tx, id: UserId) -> Result<(), DbError> {
    tx.query(NEXT_EPOCH).bind(id.uuid()).run().await.map(drop)
}
