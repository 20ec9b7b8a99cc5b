//! The keys of an installation: made once on an empty database, opened at every start, rotated on request.
//!
//! Sealed rows that the master key does not open end the start. A new key in their place would silently sign everybody
//! out, and lose every second factor.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::admin::keys::{ASSERTION, PUBLISHED, add, add_assertion};
use crate::config::MasterKeys;
use crate::crypto::Keyring;
use crate::crypto::keyring::{ASSERTION_TYPE, AssertionKeys, WebKeys};
use crate::crypto::seal::Sealer;
use crate::crypto::signing::SigningKey;
use crate::domain::{Actor, AuditEvent, Chance, Outcome, Secret, Timestamp};
use crate::store::keys::{self, SealedKey};
use crate::store::{Db, audit, credentials, provider_sessions};

/// The purpose of the secret from which web keys are derived.
const WEB: &str = "web";
/// Opens the keys of an installation, or makes them on a database that has none.
///
/// # Errors
/// When the master key does not open what is sealed.
pub async fn open(
    db: &Db,
    master: &MasterKeys,
    now: Timestamp,
    chance: &dyn Chance,
) -> anyhow::Result<Keyring> {
    let sealer = Sealer::new(master.current.expose(), &master.previous)?;
    let rows = keys::all(&mut db.read().await?).await?;
    let rows = if rows.is_empty() { first(db, &sealer, now, chance).await? } else { rows };
    let web = rows.iter().rfind(|row| row.purpose == WEB && row.retired_at.is_none());
    let web = web.context("the database has keys, but not the one for sessions: restore it from a backup")?;
    let secret = unsealed(&sealer, web)?;
    let assertion = signing(&sealer, &rows, now)?;
    Ok(Keyring::new(sealer, WebKeys::derive(&secret)?, assertion))
}

/// Reads the keys for assertions again, after another node has changed them.
///
/// # Errors
/// When the database fails or a key does not open.
pub async fn reload_assertion(db: &Db, ring: &Keyring, now: Timestamp) -> anyhow::Result<()> {
    let rows = keys::all(&mut db.read().await?).await?;
    ring.rotate(signing(&ring.sealer, &rows, now)?);
    Ok(())
}

/// Whether every sealed record opens under the configured keys; how many there are.
///
/// # Errors
/// When one does not, or the database fails.
pub async fn check(db: &Db, sealer: &Sealer) -> anyhow::Result<usize> {
    let mut conn = db.read().await?;
    let rows = keys::all(&mut conn).await?;
    for row in &rows {
        unsealed(sealer, row)?;
    }
    let factors = credentials::sealed_factors(&mut conn).await?;
    for (_, user, sealed) in &factors {
        sealer
            .open(&credentials::seal_place(*user), sealed)
            .with_context(|| format!("the second factor of user {user}"))?;
    }
    let tokens = provider_sessions::sealed(&mut conn).await?;
    for (session, provider, sealed) in &tokens {
        sealer
            .open(&provider_sessions::seal_place(*session, provider), sealed)
            .with_context(|| format!("the tokens of {provider} in session {session}"))?;
    }
    Ok(rows.len() + factors.len() + tokens.len())
}

/// The first keys of an installation. Two nodes may start at once: whoever comes second finds those of the first.
async fn first(
    db: &Db,
    sealer: &Sealer,
    now: Timestamp,
    chance: &dyn Chance,
) -> anyhow::Result<Vec<SealedKey>> {
    let mut tx = db.begin().await?;
    tx.lock("keys").await?;
    let rows = keys::all(&mut tx).await?;
    if !rows.is_empty() {
        return Ok(rows);
    }
    ensure!(
        credentials::sealed_factors(&mut tx).await?.is_empty(),
        "the database has sealed records but not the keys that belong to them: restore it from a backup"
    );
    let secret = Secret::new(chance.bytes::<32>());
    add(&mut tx, sealer, (WEB, String::new()), secret.expose(), now, chance).await?;
    let id = add_assertion(&mut tx, sealer, now, chance).await?;
    let event = AuditEvent::new(Actor::System, "keys.create", Outcome::Done).on("key", &id);
    audit::write(&mut tx, &event, now, chance).await?;
    let rows = keys::all(&mut tx).await?;
    tx.commit(now).await?;
    Ok(rows)
}

fn unsealed(sealer: &Sealer, row: &SealedKey) -> anyhow::Result<Secret<Vec<u8>>> {
    sealer.open(&keys::seal_place(row.id), &row.sealed).map_err(|_| {
        anyhow::anyhow!(
            "the master key does not open what the database has sealed ({} key {}): configure the key it was sealed \
             with, as secrets.master_key or among secrets.previous_master_keys. Cardea never makes a new one in its \
             place",
            row.purpose,
            row.id
        )
    })
}

/// The newest key that is not retired signs; those retired lately are still published.
fn signing(sealer: &Sealer, rows: &[SealedKey], now: Timestamp) -> anyhow::Result<AssertionKeys> {
    let mine = || rows.iter().filter(|row| row.purpose == ASSERTION);
    let current = mine().rfind(|row| row.retired_at.is_none());
    let current = current.context("the database has no key for assertions: restore it from a backup")?;
    let published: Vec<Value> = mine()
        .filter(|row| row.id != current.id)
        .filter(|row| row.retired_at.is_none_or(|at| now.since(at) <= PUBLISHED))
        .filter_map(|row| serde_json::from_str(&row.public).ok())
        .collect();
    let pkcs8 = unsealed(sealer, current)?;
    Ok(AssertionKeys::new(SigningKey::from_pkcs8(pkcs8.expose(), ASSERTION_TYPE)?, published))
}

#[cfg(test)]
mod tests;
