//! What goes on in the background: notes of use, the audit queue, forgetting what has run out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::keys;
use crate::crypto::Keyring;
use crate::domain::{AuditEvent, Chance, SessionId, Span, Timestamp};
use crate::session::Sessions;
use crate::store::{
    Db, DbError, assertions, audit, feed, flows, handoffs, links, provider_sessions, sessions, throttles,
};
use crate::sys::Clock;

/// Writes notes of use, at most once in two seconds.
pub(super) async fn write_seen(
    house: Arc<Sessions>,
    clock: Arc<dyn Clock>,
    mut notes: mpsc::Receiver<(SessionId, Timestamp)>,
) {
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, 500).await > 0 {
        if let Err(error) = house.write_seen(&batch, clock.now()).await {
            // Lost: the sessions may idle out a little early after a restart.
            tracing::warn!(%error, "notes of use could not be written");
        }
        batch.clear();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Writes refusals and failures to the audit log, until it is told that no more will come.
pub(super) struct LedgerTask {
    last: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// How long a program that stops waits for the audit log.
const LAST: Duration = Duration::from_secs(5);

impl LedgerTask {
    pub(super) fn start(
        db: Db,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
        events: mpsc::Receiver<AuditEvent>,
    ) -> Self {
        let (last, told) = oneshot::channel();
        Self { last, task: tokio::spawn(write_audit(db, clock, chance, events, told)) }
    }

    /// Writes what waits, and ends.
    pub(super) async fn finish(mut self) {
        let _ = self.last.send(());
        if tokio::time::timeout(LAST, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::error!("the audit log could not be written before the end; what waited for it is lost");
        }
    }
}

async fn write_audit(
    db: Db,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    mut events: mpsc::Receiver<AuditEvent>,
    mut told: oneshot::Receiver<()>,
) {
    let mut batch = Vec::new();
    loop {
        let count = tokio::select! {
            count = events.recv_many(&mut batch, 200) => count,
            _ = &mut told, if !events.is_closed() => {
                // What is in the queue can still be taken out.
                events.close();
                continue;
            }
        };
        if count == 0 {
            return;
        }
        while let Err(error) = write_batch(&db, &batch, &*clock, &*chance).await {
            tracing::warn!(%error, waiting = batch.len(), "the audit log cannot be written; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        batch.clear();
    }
}

async fn write_batch(
    db: &Db,
    batch: &[AuditEvent],
    clock: &dyn Clock,
    chance: &dyn Chance,
) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    let now = clock.now();
    for event in batch {
        audit::write(&mut tx, event, now, chance).await?;
    }
    tx.commit(now).await
}

/// Forgets what has run out: in memory every minute, in the records every ten.
pub(super) async fn tidy(house: Arc<Sessions>, ring: Arc<Keyring>, clock: Arc<dyn Clock>) {
    let mut minutes = 0_u32;
    loop {
        house.sweep(clock.now());
        // A retired key is published for a while and then no more.
        if let Err(error) = keys::reload_assertion(house.db(), &ring, clock.now()).await {
            tracing::warn!(error = format!("{error:#}"), "the keys for assertions could not be read again");
        }
        if minutes.is_multiple_of(10)
            && let Err(error) = forget(house.db(), clock.now()).await
        {
            tracing::warn!(%error, "what has run out could not be forgotten");
        }
        minutes = minutes.wrapping_add(1);
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
}

async fn forget(db: &Db, now: Timestamp) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    flows::forget(&mut tx, now).await?;
    assertions::forget(&mut tx, now).await?;
    handoffs::forget(&mut tx, now).await?;
    links::forget(&mut tx, now - Span::hours(24 * 30)).await?;
    throttles::forget(&mut tx, now - Span::hours(48), now - Span::hours(24 * 180)).await?;
    provider_sessions::forget(&mut tx, now).await?;
    sessions::forget(&mut tx, now - Span::hours(24 * 30)).await?;
    feed::forget(&mut tx, now - Span::hours(24)).await?;
    tx.commit(now).await
}
