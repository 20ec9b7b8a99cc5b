//! Helping people back in: one-time links, factors taken away, throttles cleared, passwords set by somebody else.
//!
//! None of it shows or keeps a secret: a link's text exists in the answer alone, its digest in the records. None of it
//! passes by a second factor, and none of it works on somebody who holds what the helper lacks (`PWD-07`, `MFA-11`).

use std::net::IpAddr;

use crate::access::Authority;
use crate::crypto::digest::sha256;
use crate::crypto::token;
use crate::domain::{Chance, Password, Place, Secret, Span, Status, UserId};
use crate::store::links::{self, Link, Purpose};
use crate::store::{credentials, throttles, users};

use super::work::{Person, Work};
use super::{Admin, ENROLMENT_LIFE, Error, INVITATION_LIFE, Issued, LINK_LIFE};

impl Admin {
    /// A link with which somebody sets a password: half an hour for a reset, up to seven days for somebody who has never
    /// had one. Older links of theirs are worth nothing from then on.
    pub async fn password_link(&self, by: &Authority, id: UserId, life: Span) -> Result<Issued, Error> {
        let mut work = self.begin(by, "user.password-link").await?;
        let done = password_link(&mut work, id, life).await;
        work.end(done).await
    }

    /// Takes somebody's second factor and recovery codes away, ends their sessions, and gives a code that the next
    /// enrolment must show: whoever has only the password cannot enrol in the person's place.
    pub async fn reset_mfa(&self, by: &Authority, id: UserId) -> Result<Issued, Error> {
        let mut work = self.begin(by, "user.reset-mfa").await?;
        let done = reset_mfa(&mut work, id).await;
        work.end(done).await
    }

    /// Sets somebody's password, which they must change before anything else. Says how many sessions ended.
    pub async fn set_password(
        &self,
        by: &Authority,
        id: UserId,
        password: &Password,
        sessions: Sessions,
    ) -> Result<usize, Error> {
        let user = self.show_user(by, id).await?.user;
        let hash = self.hashed(password, (&user.username, &user.name), user.email.as_ref()).await?;
        let mut work = self.begin(by, "user.set-password").await?;
        let done = set_password(&mut work, id, &hash, sessions).await;
        work.end(done).await
    }

    /// Lets somebody try again who has tried too often; how many counters that were.
    pub async fn unlock_user(&self, by: &Authority, id: UserId) -> Result<u64, Error> {
        let mut work = self.begin(by, "user.unlock").await?;
        let done = unlock_user(&mut work, id).await;
        work.end(done).await
    }

    /// Lets an address try again from which too much was tried.
    pub async fn unlock_address(&self, by: &Authority, address: IpAddr) -> Result<u64, Error> {
        let mut work = self.begin(by, "address.unlock").await?;
        let done = unlock_address(&mut work, address).await;
        work.end(done).await
    }
}

/// What becomes of the sessions of somebody whose password was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// They end.
    End,
    /// They go on.
    Keep,
}

async fn password_link(work: &mut Work<'_>, id: UserId, life: Span) -> Result<Issued, Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    work.not_oneself(&person, "issue a password link for")?;
    work.may_change(&person, "users:write").await?;
    let issued = work.issue_password_link(&person, life).await?;
    let event = work.event().with("until", issued.expires_at);
    work.record(event).await?;
    Ok(issued)
}

async fn reset_mfa(work: &mut Work<'_>, id: UserId) -> Result<Issued, Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    work.not_oneself(&person, "reset the second factor of")?;
    work.may_change(&person, "users:write").await?;
    if !work.who.boundless() {
        // An owner or the last administrator without a factor is one stolen password away from the whole: only whoever
        // has the host in hand may do that (`TENANT-08`).
        work.owns_nothing(&person)?;
        if work.administrators() == [id] {
            return Err(Error::LastAdmin(person.name()));
        }
    }
    let had = credentials::drop_factors(&mut work.tx, id).await?;
    users::touch(&mut work.tx, id).await?;
    for subject in subjects(id).into_iter().filter(|subject| !subject.starts_with("account")) {
        throttles::clear_under(&mut work.tx, &subject).await?;
    }
    let ended = work.end_sessions(id, None, "second factor reset").await?;
    links::void(&mut work.tx, Purpose::Enrolment, Some(id), work.now).await?;
    let code = enrolment_code(&*work.admin.chance);
    let bare: String = code.expose().chars().filter(char::is_ascii_alphanumeric).collect();
    let link =
        Link { user: Some(id), by: work.who.words(), expires_at: work.now + ENROLMENT_LIFE, used_at: None };
    links::add(&mut work.tx, &sha256(bare.as_bytes()), Purpose::Enrolment, &link, work.now).await?;
    let event = work.event().with("had_factor", had).with("sessions_ended", ended);
    work.record(event).await?;
    Ok(Issued { text: code, expires_at: link.expires_at })
}

async fn set_password(
    work: &mut Work<'_>,
    id: UserId,
    hash: &str,
    sessions: Sessions,
) -> Result<usize, Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    // One's own is changed on the profile page, after the present one (`PWD-09`).
    work.not_oneself(&person, "set the password of")?;
    work.may_change(&person, "users:write").await?;
    credentials::set_password(&mut work.tx, id, hash, work.now).await?;
    users::set_must_change(&mut work.tx, id, true).await?;
    if person.user.status == Status::Invited {
        users::set_status(&mut work.tx, id, Status::Active, None).await?;
    }
    links::void(&mut work.tx, Purpose::Password, Some(id), work.now).await?;
    let ended = match sessions {
        Sessions::End => work.end_sessions(id, None, "password set by an administrator").await?,
        Sessions::Keep => 0,
    };
    let event = work.event().with("sessions_ended", ended);
    work.record(event).await?;
    Ok(ended)
}

async fn unlock_user(work: &mut Work<'_>, id: UserId) -> Result<u64, Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    if !work.who.boundless() {
        person.places.iter().try_for_each(|place| work.who.demand("users:write", *place))?;
    }
    let mut cleared = 0;
    let names = [
        Some(person.user.username.as_str()),
        person.user.email.as_ref().map(crate::domain::EmailAddress::as_str),
    ];
    let typed =
        names.into_iter().flatten().map(|name| format!("text:{}:", work.admin.keys.web.name_tag(name)));
    for subject in subjects(id).into_iter().chain(typed) {
        cleared += throttles::clear_under(&mut work.tx, &subject).await?;
    }
    let event = work.event().with("cleared", cleared);
    work.record(event).await?;
    Ok(cleared)
}

async fn unlock_address(work: &mut Work<'_>, address: IpAddr) -> Result<u64, Error> {
    work.about("address", address, None);
    work.who.demand("users:write", Place::Global)?;
    // Of IPv6 the first half counts, since a household has the second to itself.
    let source = match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::")
        }
    };
    let subject = format!("address:{source}");
    let held = throttles::read(&mut work.tx, &subject).await?.is_some();
    throttles::clear(&mut work.tx, &subject).await?;
    let event = work.event();
    work.record(event).await?;
    Ok(u64::from(held))
}

/// How the names of the counters about somebody begin.
pub(super) fn subjects(id: UserId) -> [String; 4] {
    ["account", "factor", "pair", "recovery"].map(|kind| format!("{kind}:{id}"))
}

/// Ten letters in two groups: 50 bits of chance, no letters that look alike.
fn enrolment_code(chance: &dyn Chance) -> Secret<String> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKMNPQRSTVWXYZ0123456789";
    let mut text = String::with_capacity(11);
    for (at, byte) in chance.bytes::<10>().iter().enumerate() {
        if at == 5 {
            text.push('-');
        }
        text.push(LETTERS.get(usize::from(byte & 31)).copied().map_or('0', char::from));
    }
    Secret::new(text)
}

impl Work<'_> {
    /// Issues a link to set a password. The caller has asked whether they may, and leaves the record.
    pub(super) async fn issue_password_link(&mut self, person: &Person, life: Span) -> Result<Issued, Error> {
        let most = match person.user.status_at(self.now) {
            Status::Active => LINK_LIFE,
            Status::Invited => INVITATION_LIFE,
            status => {
                return Err(Error::WrongStatus {
                    who: person.name(),
                    status: status.as_str(),
                    help: "activate the account first",
                });
            }
        };
        if life > most {
            return Err(Error::LinkLife(most));
        }
        let id = person.user.id;
        links::void(&mut self.tx, Purpose::Password, Some(id), self.now).await?;
        let handle = token::handle(&*self.admin.chance);
        let link = Link { user: Some(id), by: self.who.words(), expires_at: self.now + life, used_at: None };
        links::add(&mut self.tx, &handle.digest(), Purpose::Password, &link, self.now).await?;
        // From the configured origin, never from what a request says (`PWD-07`).
        let text =
            Secret::new(format!("{}/password/set/{}", self.admin.settings.portal_origin, handle.expose()));
        Ok(Issued { text, expires_at: link.expires_at })
    }
}
