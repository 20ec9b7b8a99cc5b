//! Whether an installation has been set up.

use crate::domain::{Status, Timestamp, UserId};
use crate::store::{Conn, DbError, grants, roles, users};

/// The name of the built-in role that may do everything.
pub const SUPER_ADMIN: &str = "super-admin";

/// Somebody who was given that role and has an account in force, or an invitation to one. While there is nobody, a
/// set-up link makes the first administrator.
///
/// # Errors
/// When the database fails.
pub async fn anybody(conn: &mut Conn, now: Timestamp) -> Result<Option<UserId>, DbError> {
    let all = roles::all(conn).await?;
    let Some(role) = all.iter().find(|role| role.tenant.is_none() && role.slug.as_str() == SUPER_ADMIN)
    else {
        return Ok(None);
    };
    for held in grants::holders_of(conn, role.id).await? {
        let user = users::by_id(conn, held.user).await?;
        if user.is_some_and(|user| matches!(user.status_at(now), Status::Active | Status::Invited)) {
            return Ok(Some(held.user));
        }
    }
    Ok(None)
}
