//! Sealing anew what the database keeps, after the master key was changed.

use crate::access::Authority;
use crate::domain::Place;
use crate::store::{credentials, keys};

use super::work::Work;
use super::{Admin, Error};

impl Admin {
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
    if count > 0 {
        let event = work.event().with("resealed", count);
        work.record(event).await?;
    }
    Ok(count)
}
