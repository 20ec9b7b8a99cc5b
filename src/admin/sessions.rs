//! Sessions of others: seen and ended.

use crate::access::Authority;
use crate::domain::{Place, SessionId, User, UserId};
use crate::store::sessions::{self, Session};
use crate::store::users;

use super::work::{self, Work};
use super::{Admin, Error};

impl Admin {
    /// Live sessions that they may see, of somebody or of all, last used first; with whose they are.
    pub async fn list_sessions(
        &self,
        by: &Authority,
        user: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<(Session, User)>, Error> {
        let mut look = self.look(by).await?;
        let live = match user {
            Some(user) => {
                work::person(&mut look.conn, &look.who, user).await?;
                sessions::live_of(&mut look.conn, user, look.now).await?
            }
            None => {
                sessions::live(&mut look.conn, look.now, i64::try_from(limit).unwrap_or(i64::MAX)).await?
            }
        };
        let mut seen = Vec::new();
        for session in live {
            if let Some(user) = visible(&mut look.conn, &look.who, session.user).await? {
                seen.push((session, user));
            }
        }
        Ok(seen)
    }

    /// A session, whose it is, and for which hosts it has tokens.
    pub async fn show_session(
        &self,
        by: &Authority,
        id: SessionId,
    ) -> Result<(Session, User, Vec<String>), Error> {
        let mut look = self.look(by).await?;
        let unknown = || Error::unknown("session", id);
        let session = sessions::by_id(&mut look.conn, id).await?.ok_or_else(unknown)?;
        let user = visible(&mut look.conn, &look.who, session.user).await?.ok_or_else(unknown)?;
        let hosts = sessions::hosts(&mut look.conn, id).await?;
        Ok((session, user, hosts))
    }

    /// Ends a session.
    pub async fn revoke_session(&self, by: &Authority, id: SessionId) -> Result<(), Error> {
        let mut work = self.begin(by, "session.revoke").await?;
        let done = revoke(&mut work, id).await;
        work.end(done).await
    }

    /// Ends every session of somebody; how many.
    pub async fn revoke_sessions(&self, by: &Authority, user: UserId) -> Result<usize, Error> {
        let mut work = self.begin(by, "session.revoke-all").await?;
        let done = revoke_all(&mut work, user).await;
        work.end(done).await
    }
}

/// Somebody whose sessions they may see.
async fn visible(
    conn: &mut crate::store::Conn,
    who: &work::Asker,
    id: UserId,
) -> Result<Option<User>, Error> {
    if who.boundless() {
        return Ok(users::by_id(conn, id).await?);
    }
    match work::person(conn, who, id).await {
        Ok(person) => {
            let mut places = person.places.iter();
            let fine = places.any(|place: &Place| who.demand("sessions:read", *place).is_ok());
            Ok(fine.then_some(person.user))
        }
        Err(Error::Unknown { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn revoke(work: &mut Work<'_>, id: SessionId) -> Result<(), Error> {
    let unknown = || Error::unknown("session", id);
    let session =
        sessions::by_id(&mut work.tx, id).await?.filter(|it| it.live_at(work.now)).ok_or_else(unknown)?;
    work.about("session", id, session.tenant);
    let person = match work.person(session.user).await {
        Err(Error::Unknown { .. }) => return Err(unknown()),
        other => other?,
    };
    work.may_change(&person, "sessions:revoke").await?;
    sessions::end(&mut work.tx, id, "ended by an administrator", work.now).await?;
    let event = work.event().with("user", session.user);
    work.record(event).await
}

async fn revoke_all(work: &mut Work<'_>, user: UserId) -> Result<usize, Error> {
    let person = work.person(user).await?;
    work.about("user", user, person.memberships.first().map(|it| it.tenant));
    work.may_change(&person, "sessions:revoke").await?;
    let ended = work.end_sessions(user, None, "ended by an administrator").await?;
    let event = work.event().with("sessions_ended", ended);
    work.record(event).await?;
    Ok(ended)
}
