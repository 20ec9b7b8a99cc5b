//! Who can administer everything. Somebody always can, once somebody could.

use crate::access::Snapshot;
use crate::access::administrator::SUPER_ADMIN;
use crate::domain::{Timestamp, UserId};
use crate::store::{Conn, grants};

use super::Error;
use super::work::{Person, Work};

/// Who can: active accounts of kind admin to whom the built-in role was given for the whole system.
pub(super) async fn usable(conn: &mut Conn, tree: &Snapshot, now: Timestamp) -> Result<Vec<UserId>, Error> {
    match tree.role_named(None, SUPER_ADMIN) {
        Some(role) => grants::usable_everywhere(conn, role.id, now).await.map_err(Error::from),
        None => Ok(Vec::new()),
    }
}

impl Work<'_> {
    /// An owner stays one until the tenant is transferred: not deleted, stopped, demoted or sent away.
    pub(super) fn owns_nothing(&self, person: &Person) -> Result<(), Error> {
        let owned = self.tree.tenants().find(|tenant| tenant.owner == Some(person.user.id));
        match owned {
            Some(tenant) => {
                Err(Error::OwnerImmutable { who: person.name(), tenant: tenant.slug.to_string() })
            }
            None => Ok(()),
        }
    }

    /// Not to oneself. The operator is nobody's account.
    pub(super) fn not_oneself(&self, person: &Person, verb: &'static str) -> Result<(), Error> {
        if self.who.is(person.user.id) { Err(Error::Oneself(verb)) } else { Ok(()) }
    }
}
