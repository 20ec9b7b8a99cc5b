//! People and their sessions.

use serde_json::{Value, json};

use crate::access::Snapshot;
use crate::admin::{Edit, Given, ImportLine, LINK_LIFE, NewUser, Sessions, UserList, UserView};
use crate::domain::{
    AccountKind, EmailAddress, Password, PersonName, Place, SessionId, Span, Status, UserId, Username,
};
use crate::store::memberships::Membership;

use super::answer::{Answer, Exit, Trouble, typed};
use super::{Desk, Typed, UserWish};

/// Which people to list, as typed.
pub(super) struct Listing {
    pub(super) status: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) role: Option<String>,
    pub(super) like: Option<String>,
    pub(super) limit: usize,
}

fn kind(text: Option<&String>) -> Result<Option<AccountKind>, Trouble> {
    text.map(|text| typed("kind", text, AccountKind::parse)).transpose()
}

fn password(typed: &Typed) -> Result<Password, Trouble> {
    Password::parse(typed.expose()).map_err(|bad| Trouble::Usage(bad.to_string()))
}

fn place_of(it: &Membership) -> Place {
    match (it.org, it.department) {
        (Some(org), Some(department)) => Place::Department(it.tenant, org, department),
        (Some(org), None) => Place::Org(it.tenant, org),
        (None, _) => Place::Tenant(it.tenant),
    }
}

impl Desk<'_> {
    pub(super) async fn user(&self, text: &str) -> Result<UserId, Trouble> {
        Ok(self.admin.user_named(self.by, text).await?)
    }

    /// The tree, for putting places into words.
    pub(super) async fn words(&self) -> Result<Snapshot, Trouble> {
        Ok(self.admin.tree().await?)
    }

    /// Somebody's username; the id of whoever is gone.
    pub(super) async fn username(&self, id: UserId) -> Result<String, Trouble> {
        match self.admin.show_user(self.by, id).await {
            Ok(view) => Ok(view.user.username.to_string()),
            Err(crate::admin::Error::Unknown { .. }) => Ok(id.to_string()),
            Err(error) => Err(error.into()),
        }
    }

    /// `analyst`, `analyst@acme/europe`: a role and where it is meant, beside where the person will belong.
    async fn wished_role(&self, text: &str, joins: &[Place]) -> Result<Given, Trouble> {
        if let Some((name, at)) = text.split_once('@') {
            let place = self.place(at).await?;
            return Ok(Given { role: self.admin.role_named(self.by, name, place.tenant()).await?.id, place });
        }
        let first = joins.first().copied().unwrap_or(Place::Global);
        let role = self.admin.role_named(self.by, text, first.tenant()).await?;
        Ok(Given { role: role.id, place: crate::admin::usual_place(role.scope, first) })
    }

    async fn joins(&self, texts: &[String]) -> Result<Vec<Place>, Trouble> {
        let mut places = Vec::new();
        for text in texts {
            match self.place(text).await? {
                Place::Global => {
                    return Err(Trouble::Usage("people belong to tenants, not everywhere".to_owned()));
                }
                place => places.push(place),
            }
        }
        Ok(places)
    }

    pub(super) async fn user_create(
        &self,
        username: &str,
        wish: UserWish,
        first: Option<Typed>,
        life: Option<Span>,
    ) -> Result<Answer, Trouble> {
        let username = typed("username", username, Username::parse)?;
        let name = typed("name", wish.name.as_deref().unwrap_or(username.as_str()), PersonName::parse)?;
        let joins = self.joins(&wish.join).await?;
        let mut roles = Vec::new();
        for role in &wish.roles {
            roles.push(self.wished_role(role, &joins).await?);
        }
        let mut groups = Vec::new();
        for group in &wish.groups {
            groups.push(self.group_near(group, &joins).await?);
        }
        let email = wish.email.as_deref().filter(|text| !text.is_empty());
        let new = NewUser {
            email: email.map(|text| typed("e-mail", text, EmailAddress::parse)).transpose()?,
            kind: kind(wish.kind.as_ref())?.unwrap_or(AccountKind::User),
            joins,
            roles,
            groups,
            password: first.as_ref().map(password).transpose()?,
            handover: Some(life.unwrap_or(LINK_LIFE)),
            ..NewUser::new(username.clone(), name)
        };
        let created = self.admin.create_user(self.by, new).await?;
        let answer = Answer::about(
            format!("user {username} created"),
            json!({ "id": created.id, "username": username, "given": created.given }),
        );
        let answer =
            created.given.iter().fold(answer, |answer, it| answer.note(format!("{username} has {it}")));
        Ok(match &created.link {
            Some(link) => {
                answer.once("link", format!("{username} sets a password with this link, once"), link)
            }
            None => answer.note(format!("{username} must change the password at the first sign-in")),
        })
    }

    async fn group_near(&self, text: &str, joins: &[Place]) -> Result<crate::domain::GroupId, Trouble> {
        match joins.first() {
            Some(place) if !text.contains('/') => {
                let tenant =
                    self.words().await?.place_words(place.tenant().map_or(Place::Global, Place::Tenant));
                self.group(&format!("{tenant}/{text}")).await
            }
            _ => self.group(text).await,
        }
    }

    pub(super) async fn user_edit(
        &self,
        user: &str,
        wish: UserWish,
        leave: Vec<String>,
    ) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let edit = Edit {
            name: wish.name.as_deref().map(|text| typed("name", text, PersonName::parse)).transpose()?,
            email: match wish.email.as_deref() {
                None => None,
                Some("") => Some(None),
                Some(text) => Some(Some(typed("e-mail", text, EmailAddress::parse)?)),
            },
            kind: kind(wish.kind.as_ref())?,
        };
        let joins = self.joins(&wish.join).await?;
        let mut leaves = Vec::new();
        for tenant in &leave {
            leaves.push(self.tenant(tenant).await?);
        }
        if edit == Edit::default() && joins.is_empty() && leaves.is_empty() {
            return Err(Trouble::Usage(format!(
                "say what is to be different about {user}: --name, --email, --kind, --join or --leave"
            )));
        }
        self.admin.change_user(self.by, id, &edit, &joins, &leaves).await?;
        Ok(Answer::said(format!("user {user} changed")))
    }

    pub(super) async fn user_list(&self, list: Listing) -> Result<Answer, Trouble> {
        let tenant = self.maybe_tenant(list.tenant).await?;
        let role = match &list.role {
            Some(role) => Some(self.admin.role_named(self.by, role, tenant).await?.id),
            None => None,
        };
        let status = list.status.as_deref().map(|text| typed("status", text, Status::parse)).transpose()?;
        let wanted = UserList { status, like: list.like, tenant, role, after: None, limit: list.limit };
        let users = self.admin.list_users(self.by, &wanted).await?;
        let now = self.admin.clock.now();
        let more = users.len() == list.limit;
        let rows = users
            .into_iter()
            .map(|user| {
                [
                    user.username.to_string(),
                    user.name.to_string(),
                    user.email.as_ref().map_or_else(String::new, ToString::to_string),
                    user.kind.as_str().to_owned(),
                    user.status_at(now).as_str().to_owned(),
                    user.last_sign_in_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
                    user.created_at.to_string(),
                    user.id.to_string(),
                ]
            })
            .collect();
        let columns = ["username", "name", "email", "kind", "status", "last sign in", "created at", "id"];
        let answer = Answer::rows(columns, rows);
        Ok(if more {
            answer.note(format!("these are the first {}; --limit shows more", list.limit))
        } else {
            answer
        })
    }

    pub(super) async fn user_show(&self, user: &str) -> Result<Answer, Trouble> {
        let view: UserView = self.admin.show_user(self.by, self.user(user).await?).await?;
        let words = self.words().await?;
        let list = |items: Vec<String>| items.join(", ");
        let suspended = view.user.suspension.as_ref().map_or_else(String::new, |why| {
            let until = why.until.map_or_else(String::new, |until| format!(", until {until}"));
            format!("{} by {}, {}{until}", why.at, why.by, why.reason)
        });
        let email = view.user.email.as_ref().map_or_else(String::new, |email| {
            let how = if view.user.email_verified { "signs in" } else { "for writing to only" };
            format!("{email} ({how})")
        });
        let principal = &view.principal;
        Ok(Answer::facts(&[
            ("id", view.user.id.to_string()),
            ("username", view.user.username.to_string()),
            ("name", view.user.name.to_string()),
            ("email", email),
            ("kind", view.user.kind.as_str().to_owned()),
            ("status", view.status.as_str().to_owned()),
            ("suspended", suspended),
            ("member_of", list(view.memberships.iter().map(|it| words.place_words(place_of(it))).collect())),
            (
                "roles",
                list(
                    principal
                        .roles
                        .iter()
                        .map(|held| {
                            format!("{}@{} ({})", held.slug, words.place_words(held.place), held.origin)
                        })
                        .collect(),
                ),
            ),
            (
                "permissions",
                list(
                    principal
                        .permissions
                        .iter()
                        .map(|held| {
                            format!("{}@{} ({})", held.pattern, words.place_words(held.place), held.from)
                        })
                        .collect(),
                ),
            ),
            (
                "groups",
                list(
                    principal
                        .groups
                        .iter()
                        .map(|(tenant, slug)| format!("{}/{slug}", words.place_words(Place::Tenant(*tenant))))
                        .collect(),
                ),
            ),
            ("password_set_at", view.password_set_at.map_or_else(String::new, |at| at.to_string())),
            ("must_change_password", if principal.must_change_password { "yes" } else { "" }.to_owned()),
            ("second_factor", if principal.enrolled { "authenticator" } else { "none" }.to_owned()),
            ("recovery_codes", view.recovery_codes.to_string()),
            ("sessions", view.sessions.to_string()),
            (
                "last_sign_in",
                view.user.last_sign_in_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            ),
            ("created_at", view.user.created_at.to_string()),
        ]))
    }

    pub(super) async fn user_suspend(
        &self,
        user: &str,
        reason: &str,
        lasts: Option<Span>,
    ) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let until = lasts.map(|lasts| self.admin.clock.now() + lasts);
        self.admin.suspend_user(self.by, id, reason, until).await?;
        Ok(Answer::said(format!("user {user} suspended; every session has ended")))
    }

    pub(super) async fn user_activate(&self, user: &str) -> Result<Answer, Trouble> {
        let status = self.admin.activate_user(self.by, self.user(user).await?).await?;
        let answer = Answer::said(format!("user {user} is {}", status.as_str()));
        Ok(match status {
            Status::Invited => answer.note(format!("{user} has no password yet: cardea user link {user}")),
            _ => answer,
        })
    }

    pub(super) async fn user_deactivate(&self, user: &str) -> Result<Answer, Trouble> {
        self.admin.deactivate_user(self.by, self.user(user).await?).await?;
        Ok(Answer::said(format!("user {user} is inactive; every session has ended")))
    }

    pub(super) async fn user_delete(&self, user: &str) -> Result<Answer, Trouble> {
        self.admin.delete_user(self.by, self.user(user).await?).await?;
        Ok(Answer::said(format!("user {user} deleted; the username stays reserved")))
    }

    pub(super) async fn user_export(&self, user: &str) -> Result<Answer, Trouble> {
        let all = self.admin.export_user(self.by, self.user(user).await?).await?;
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        Ok(Answer::about(text, all))
    }

    pub(super) async fn user_import(&self, lines: Vec<(usize, String)>) -> Result<Answer, Trouble> {
        let mut rows = Vec::new();
        let mut faults = 0_usize;
        for (number, line) in lines {
            let (username, outcome) = match serde_json::from_str::<ImportLine>(&line) {
                Err(error) => (String::new(), Err(format!("not understood: {error}"))),
                Ok(parsed) => {
                    let done = self.admin.import_user(self.by, &parsed).await;
                    let done = done.map_err(|error| format!("{}: {error}", error.code()));
                    (parsed.username.to_string(), done)
                }
            };
            faults += usize::from(outcome.is_err());
            let words = match outcome {
                Ok(it) if it.has_password => "taken over".to_owned(),
                Ok(_) => "taken over, without a password".to_owned(),
                Err(why) => why,
            };
            rows.push([number.to_string(), username, words]);
        }
        let mut answer = Answer::rows(["line", "username", "outcome"], rows);
        if faults > 0 {
            answer.exit = Exit::Refused;
        }
        Ok(answer)
    }

    pub(super) async fn user_link(&self, user: &str, life: Option<Span>) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let issued = self.admin.password_link(self.by, id, life.unwrap_or(LINK_LIFE)).await?;
        let answer = Answer::about(
            format!("link for {user} issued; older ones are worth nothing now"),
            json!({ "id": id }),
        );
        Ok(answer.once("link", format!("{user} sets a password with this link, once"), &issued))
    }

    pub(super) async fn user_reset_mfa(&self, user: &str) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let issued = self.admin.reset_mfa(self.by, id).await?;
        let text = format!("second factor and recovery codes of {user} are gone, every session has ended");
        let answer = Answer::about(text, json!({ "id": id }));
        Ok(answer.once("code", format!("{user} must show this code when enrolling anew"), &issued))
    }

    pub(super) async fn user_set_password(
        &self,
        user: &str,
        new: &Typed,
        keep_sessions: bool,
    ) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let sessions = if keep_sessions { Sessions::Keep } else { Sessions::End };
        let ended = self.admin.set_password(self.by, id, &password(new)?, sessions).await?;
        let answer =
            Answer::about(format!("password of {user} set"), json!({ "id": id, "sessions_ended": ended }));
        Ok(answer.note(format!("{user} must change it at the next sign-in; {ended} sessions ended")))
    }

    pub(super) async fn session_list(&self, user: Option<String>, limit: usize) -> Result<Answer, Trouble> {
        let user = match &user {
            Some(user) => Some(self.user(user).await?),
            None => None,
        };
        let rows = self
            .admin
            .list_sessions(self.by, user, limit)
            .await?
            .into_iter()
            .map(|(session, user)| {
                [
                    session.id.to_string(),
                    user.username.to_string(),
                    session.level.words(),
                    session.address,
                    session.created_at.to_string(),
                    session.seen_at.to_string(),
                ]
            })
            .collect();
        Ok(Answer::rows(["session", "user", "how", "address", "since", "last used"], rows))
    }

    fn session(text: &str) -> Result<SessionId, Trouble> {
        text.parse().map_err(|bad| Trouble::Usage(format!("session \"{text}\": {bad}")))
    }

    pub(super) async fn session_show(&self, session: &str) -> Result<Answer, Trouble> {
        let (session, user, hosts) = self.admin.show_session(self.by, Self::session(session)?).await?;
        let ended = session.ended.as_ref().map_or_else(String::new, |(at, why)| format!("{at}, {why}"));
        Ok(Answer::facts(&[
            ("id", session.id.to_string()),
            ("user", user.username.to_string()),
            ("how", session.level.words()),
            ("address", session.address.clone()),
            ("agent", session.agent.clone()),
            ("hosts", hosts.join(" ")),
            ("since", session.created_at.to_string()),
            ("last_used", session.seen_at.to_string()),
            ("idle_until", session.idle_until.to_string()),
            ("at_most_until", session.absolute_until.to_string()),
            ("ended", ended),
        ]))
    }

    pub(super) async fn session_revoke(&self, session: &str) -> Result<Answer, Trouble> {
        self.admin.revoke_session(self.by, Self::session(session)?).await?;
        Ok(Answer::said(format!("session {session} ended")))
    }

    pub(super) async fn session_revoke_all(&self, user: &str) -> Result<Answer, Trouble> {
        let ended = self.admin.revoke_sessions(self.by, self.user(user).await?).await?;
        let json: Value = json!({ "ended": ended });
        Ok(Answer::about(format!("{ended} sessions of {user} ended"), json))
    }
}
