//! What the portal's pages keep between two requests, through tower-sessions.
//!
//! The library gives the handle; the life of a session is ours: this store never makes one, and it writes only to one that
//! has not ended, so that a request in flight cannot bring a revoked session back (tower-sessions saves after the handler).
//! The id it sees is the session's public id; what the browser holds is our token, and only its digest is stored.

use async_trait::async_trait;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result};

use crate::domain::SessionId;
use crate::domain::ids::Id as _;
use crate::store::{Db, sessions};
use crate::sys::Clock;

/// A store for the data of sessions that exist.
#[derive(Clone)]
pub struct PortalStore {
    db: Db,
    clock: std::sync::Arc<dyn Clock>,
}

impl std::fmt::Debug for PortalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PortalStore")
    }
}

impl PortalStore {
    /// Over the database.
    #[must_use]
    pub fn new(db: Db, clock: std::sync::Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }

    /// The handle for a session that was resolved from its token.
    #[must_use]
    pub fn handle(self: &std::sync::Arc<Self>, session: SessionId) -> tower_sessions::Session {
        let id = Id(i128::from_be_bytes(*session.uuid().as_bytes()));
        tower_sessions::Session::new(Some(id), std::sync::Arc::<Self>::clone(self), None)
    }
}

fn session(id: Id) -> SessionId {
    SessionId::from_uuid(uuid::Uuid::from_bytes(id.0.to_be_bytes()))
}

fn backend(error: &dyn std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for PortalStore {
    async fn create(&self, _: &mut Record) -> Result<()> {
        Err(Error::Backend("sessions begin with a completed sign-in and in no other way".into()))
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let data = serde_json::to_string(&record.data).map_err(|error| Error::Encode(error.to_string()))?;
        let mut tx = self.db.begin().await.map_err(|error| backend(&error))?;
        sessions::save_data(&mut tx, session(record.id), &data).await.map_err(|error| backend(&error))?;
        tx.commit(self.clock.now()).await.map_err(|error| backend(&error))
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let mut conn = self.db.read().await.map_err(|error| backend(&error))?;
        let Some(data) = sessions::data(&mut conn, session(*id)).await.map_err(|error| backend(&error))?
        else {
            return Ok(None);
        };
        let data = serde_json::from_str(&data).map_err(|error| Error::Decode(error.to_string()))?;
        // The library wants an expiry; ours is decided where the token is resolved.
        let expiry_date = time::OffsetDateTime::from_unix_timestamp(self.clock.now().seconds() + 3_600)
            .map_err(|error| Error::Decode(error.to_string()))?;
        Ok(Some(Record { id: *id, data, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await.map_err(|error| backend(&error))?;
        sessions::end(&mut tx, session(*id), "signed out", now).await.map_err(|error| backend(&error))?;
        tx.commit(now).await.map_err(|error| backend(&error))
    }
}
