//! Which identity providers are switched off. What they are stands in the configuration.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::user::Suspension;
use crate::domain::{Slug, Timestamp};

statements! {
    STOP = "
        INSERT INTO provider_stops (provider, stopped_by, stopped_at, reason, until) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (provider) DO UPDATE
           SET stopped_by = excluded.stopped_by, stopped_at = excluded.stopped_at, reason = excluded.reason,
               until = excluded.until";
    STOPPED = "SELECT provider, stopped_by, stopped_at, reason, until FROM provider_stops ORDER BY provider";
    RESUME = "DELETE FROM provider_stops WHERE provider = $1";
}

fn stop_of(row: &Row) -> Result<(String, Suspension), DbError> {
    let why = Suspension {
        by: row.get("stopped_by")?,
        at: row.time("stopped_at")?,
        reason: row.get("reason")?,
        until: row.maybe_time("until")?,
    };
    Ok((row.get("provider")?, why))
}

/// Every provider that is switched off at a moment, with why.
///
/// # Errors
/// When the database fails.
pub async fn stopped(conn: &mut Conn, now: Timestamp) -> Result<Vec<(String, Suspension)>, DbError> {
    let mut all = conn.query(STOPPED).all(stop_of).await?;
    all.retain(|(_, why)| why.until.is_none_or(|until| until > now));
    Ok(all)
}

/// Switches a provider off.
///
/// # Errors
/// When the database fails.
pub async fn stop(tx: &mut Tx, provider: &Slug, why: &Suspension) -> Result<(), DbError> {
    tx.query(STOP)
        .bind(provider.as_str())
        .bind(&why.by)
        .bind(why.at.millis())
        .bind(&why.reason)
        .bind(why.until.map(Timestamp::millis))
        .run()
        .await
        .map(drop)
}

/// Switches a provider on again; false when it was not off.
///
/// # Errors
/// When the database fails.
pub async fn resume(tx: &mut Tx, provider: &Slug) -> Result<bool, DbError> {
    tx.query(RESUME).bind(provider.as_str()).run().await.map(|n| n > 0)
}
