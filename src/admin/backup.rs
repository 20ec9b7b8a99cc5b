//! Copies of the records.

use std::path::Path;

use crate::access::Authority;
use crate::domain::{Outcome, Place};
use crate::store::Engine;

use super::work::Work;
use super::{Admin, Error};

impl Admin {
    /// Copies the records into a new file. Whoever has the copy has everything but the master key, so the record of it comes
    /// first, and is in the copy; a copy that fails leaves a second one.
    pub async fn backup(&self, by: &Authority, to: &Path) -> Result<(), Error> {
        let mut work = self.begin(by, "records.copy").await?;
        let done = permitted(&mut work, to).await;
        let failure = work.event_named("records.copy", Outcome::Failed).on("file", to.display());
        work.end(done).await?;
        // Outside: SQLite has one writer, and it is the one who copies.
        let copied = self.db.backup(to).await;
        if let Err(error) = &copied {
            self.ledger.leave(failure.with("why", error));
        }
        copied.map_err(Error::from)
    }
}

async fn permitted(work: &mut Work<'_>, to: &Path) -> Result<(), Error> {
    work.about("file", to.display(), None);
    work.who.demand("settings:write", Place::Global)?;
    // PostgreSQL has tools of its own and refuses below; nothing is copied that could be recorded.
    if work.admin.db.engine() == Engine::Sqlite {
        let event = work.event();
        work.record(event).await?;
    }
    Ok(())
}
