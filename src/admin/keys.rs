//! Our own keys: sealing anew what the database keeps, after the master key was changed; new keys for assertions.

use crate::access::Authority;
use crate::crypto::keyring::ASSERTION_TYPE;
use crate::crypto::seal::Sealer;
use crate::crypto::signing::SigningKey;
use crate::domain::{Chance, KeyId, Place, Span, Timestamp};
use crate::store::keys::SealedKey;
use crate::store::{Tx, credentials, keys, provider_sessions};

use super::work::Work;
use super::{Admin, Error};

/// The purpose of a key that signs assertions.
pub const ASSERTION: &str = "assertion";
/// How long a key is still published after it has signed its last: no assertion lives longer than five minutes, and no
/// upstream should keep a key set longer than this.
pub const PUBLISHED: Span = Span::hours(1);

impl Admin {
    /// Signs assertions with a new key from now on; its id. The one before it is published for another hour.
    pub async fn rotate_keys(&self, by: &Authority) -> Result<String, Error> {
        let mut work = self.begin(by, "keys.rotate").await?;
        let done = rotate(&mut work).await;
        work.end(done).await
    }

    /// Seals every key and every seed under the current master key; how many were under another.
    pub async fn reseal(&self, by: &Authority) -> Result<usize, Error> {
        let mut work = self.begin(by, "keys.reseal").await?;
        let done = reseal(&mut work).await;
        work.end(done).await
    }
}

async fn reseal(work: &mut Work<'_>) -> Result<usize, Error> {
    work.who.demand("settings:write", Place::Global)?;
    let (sealer, chance) = (&work.admin.keys.sealer, &*work.admin.chance);
    let mut count = 0;
    for key in keys::all(&mut work.tx).await?.iter().filter(|key| !sealer.current(&key.sealed)) {
        let place = keys::seal_place(key.id);
        let plain = sealer.open(&place, &key.sealed)?;
        keys::reseal(&mut work.tx, key.id, &sealer.seal(&place, plain.expose(), chance)?).await?;
        count += 1;
    }
    for (id, user, sealed) in credentials::sealed_factors(&mut work.tx).await? {
        if sealer.current(&sealed) {
            continue;
        }
        let place = credentials::seal_place(user);
        let plain = sealer.open(&place, &sealed)?;
        credentials::reseal(&mut work.tx, id, &sealer.seal(&place, plain.expose(), chance)?).await?;
        count += 1;
    }
    for (session, provider, sealed) in provider_sessions::sealed(&mut work.tx).await? {
        if sealer.current(&sealed) {
            continue;
        }
        let place = provider_sessions::seal_place(session, &provider);
        let plain = sealer.open(&place, &sealed)?;
        let sealed = sealer.seal(&place, plain.expose(), chance)?;
        provider_sessions::reseal(&mut work.tx, session, &provider, &sealed).await?;
        count += 1;
    }
    if count > 0 {
        let event = work.event().with("resealed", count);
        work.record(event).await?;
    }
    Ok(count)
}

async fn rotate(work: &mut Work<'_>) -> Result<String, Error> {
    work.who.demand("settings:write", Place::Global)?;
    // Whoever makes the first keys of an installation holds this one.
    work.tx.lock("keys").await?;
    for row in keys::all(&mut work.tx).await?.iter().filter(|row| row.purpose == ASSERTION) {
        match row.retired_at {
            None => keys::retire(&mut work.tx, row.id, work.now).await?,
            Some(at) if work.now.since(at) > PUBLISHED => keys::delete(&mut work.tx, row.id).await?,
            Some(_) => {}
        }
    }
    let (sealer, chance) = (&work.admin.keys.sealer, &*work.admin.chance);
    let id = add_assertion(&mut work.tx, sealer, work.now, chance).await?;
    work.about("key", &id, None);
    let event = work.event();
    work.record(event).await?;
    Ok(id)
}

/// Makes and keeps a key for assertions; its id.
///
/// # Errors
/// When the database fails, or chance does.
pub async fn add_assertion(
    tx: &mut Tx,
    sealer: &Sealer,
    now: Timestamp,
    chance: &dyn Chance,
) -> Result<String, Error> {
    let pkcs8 = SigningKey::generate()?;
    let key = SigningKey::from_pkcs8(pkcs8.expose(), ASSERTION_TYPE)?;
    add(tx, sealer, (ASSERTION, key.public().to_string()), pkcs8.expose(), now, chance).await?;
    Ok(key.id().to_owned())
}

/// Keeps a secret for a purpose, sealed, with its public part if it has one.
///
/// # Errors
/// When the database fails.
pub async fn add(
    tx: &mut Tx,
    sealer: &Sealer,
    (purpose, public): (&str, String),
    secret: &[u8],
    now: Timestamp,
    chance: &dyn Chance,
) -> Result<(), Error> {
    let id = KeyId::mint(now, chance);
    let sealed = sealer.seal(&keys::seal_place(id), secret, chance)?;
    let key =
        SealedKey { id, purpose: purpose.to_owned(), sealed, public, created_at: now, retired_at: None };
    keys::add(tx, &key).await.map_err(Error::from)
}
