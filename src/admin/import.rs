//! People from elsewhere, one JSON object a line, with the hashes of the passwords they have.

use serde::{Deserialize, Serialize};

use crate::access::Authority;
use crate::crypto::password_hash;
use crate::domain::{AccountKind, EmailAddress, PersonName, Place, PlacePath, UserId, Username};

use super::users::{NewUser, create, usual_place};
use super::work::Work;
use super::{Admin, Error, Given};

/// Somebody as another system writes them down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportLine {
    /// What they sign in with.
    pub username: Username,
    /// How they are called; the username when missing.
    #[serde(default)]
    pub name: Option<PersonName>,
    /// Where to write to.
    #[serde(default)]
    pub email: Option<EmailAddress>,
    /// `admin` or `user`.
    #[serde(default)]
    pub kind: Option<AccountKind>,
    /// argon2 in PHC form, or bcrypt. Without one, they wait for a link.
    #[serde(default)]
    pub password_hash: Option<String>,
    /// Where they belong: `acme`, `acme/europe`.
    #[serde(default)]
    pub places: Vec<PlacePath>,
    /// What they hold: `analyst`, `analyst@acme/europe/finance`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// In which groups they are: `staff`, `acme/staff`.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Somebody who was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Who.
    pub id: UserId,
    /// Whether they can sign in with the password they have.
    pub has_password: bool,
}

impl Admin {
    /// Takes one person over, in a transaction of their own: what is wrong with one does not touch the others.
    pub async fn import_user(&self, by: &Authority, line: &ImportLine) -> Result<Imported, Error> {
        let mut work = self.begin(by, "user.import").await?;
        let done = import(&mut work, line).await;
        work.end(done).await
    }
}

async fn import(work: &mut Work<'_>, line: &ImportLine) -> Result<Imported, Error> {
    if line.password_hash.as_ref().is_some_and(|hash| !password_hash::readable(hash)) {
        return Err(Error::BadField {
            what: "password_hash",
            why: "only argon2 in PHC form and bcrypt are read".into(),
        });
    }
    let place = |path: &PlacePath| work.tree.place(path).ok_or_else(|| Error::unknown("place", path));
    let joins: Vec<Place> = line.places.iter().map(place).collect::<Result<_, _>>()?;
    let first = joins.first().copied().unwrap_or(Place::Global);
    let mut roles = Vec::new();
    for text in &line.roles {
        let (name, at) = match text.split_once('@') {
            Some((name, at)) => (name, Some(PlacePath::parse(at)?)),
            None => (text.as_str(), None),
        };
        let at = at.as_ref().map(place).transpose()?;
        let role = work.tree.role_named(at.unwrap_or(first).tenant(), name);
        let role = role.ok_or_else(|| Error::unknown("role", name))?;
        roles.push(Given { role: role.id, place: at.unwrap_or_else(|| usual_place(role.scope, first)) });
    }
    let mut groups = Vec::new();
    for text in &line.groups {
        let (tenant, name) = match text.split_once('/') {
            Some((tenant, name)) => (super::work::tenant_named(&work.tree, &work.who, tenant).ok(), name),
            None => (first.tenant(), text.as_str()),
        };
        let group = work.groups.iter().find(|it| Some(it.tenant) == tenant && it.slug.as_str() == name);
        groups.push(group.ok_or_else(|| Error::unknown("group", text))?.id);
    }
    let name = match &line.name {
        Some(name) => name.clone(),
        None => PersonName::parse(line.username.as_str())?,
    };
    let new = NewUser {
        email: line.email.clone(),
        kind: line.kind.unwrap_or(AccountKind::User),
        joins,
        roles,
        groups,
        handover: None,
        ..NewUser::new(line.username.clone(), name)
    };
    // The password is their own: nothing forces a change.
    let created = create(work, &new, line.password_hash.clone(), false).await?;
    Ok(Imported { id: created.id, has_password: line.password_hash.is_some() })
}
