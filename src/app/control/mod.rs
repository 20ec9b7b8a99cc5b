//! What the command line asks of a running server, or does itself where none runs: one list of commands, one answer.

mod answer;
mod command;
mod decisions;
mod house;
mod past;
mod people;
mod providers;
mod rights;
mod saml;
mod socket;
mod structure;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::access::Authority;
use crate::admin::Admin;
use crate::crypto::certificate::Identity;
use crate::domain::Timestamp;
use crate::federation::Federation;
use crate::proxy::{Past, Sighting};
use crate::signin::SignIn;

pub use answer::{Answer, Exit, Once, Table};
pub use command::{Circumstances, Command, RoleWish, Typed, UserWish};
pub use socket::{Client, Socket, Unreachable, operator_name, own_name, serve_socket};

use answer::Trouble;

/// What reading the configuration again came to: a sentence either way.
pub type Reloaded = Result<String, String>;
/// Reads the configuration again.
pub type Reload = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Reloaded> + Send>> + Send + Sync>;

/// Finds a request that was made lately.
pub type Remember = Box<dyn Fn(&str) -> Option<Past> + Send + Sync>;

/// Everything that commands act on.
pub struct Controls {
    /// The stories of changing things.
    pub admin: Arc<Admin>,
    /// Identity providers.
    pub federation: Arc<Federation>,
    /// The stories of coming in, where a server runs that browsers can come to.
    pub signin: Option<Arc<SignIn>>,
    /// The name of this node.
    pub node: String,
    /// Where records are kept, without passwords.
    pub storage: String,
    /// Since when the server runs; `None` when the command line does it itself.
    pub started: Option<Timestamp>,
    /// Reads the configuration again, where something runs that reads it.
    pub reload: Option<Reload>,
    /// How the configuration stands: `current`, or what was wrong with the last one.
    pub config_state: Box<dyn Fn() -> String + Send + Sync>,
    /// What browsers are shown over TLS, the first for a host first.
    pub certificates: Box<dyn Fn() -> Vec<Arc<Identity>> + Send + Sync>,
    /// A request that was made lately, by its id, where something runs that remembers.
    pub past: Remember,
    /// How upstreams are, where something runs that knows.
    pub upstreams: Box<dyn Fn() -> Vec<Sighting> + Send + Sync>,
}

/// Does what is asked, in the name of whoever asks.
pub async fn execute(controls: &Controls, by: &Authority, command: Command) -> Answer {
    let on = Desk { controls, admin: &controls.admin, by };
    match on.carry_out(command).await {
        Ok(answer) => answer,
        Err(trouble) => trouble.answer(),
    }
}

/// What a command is carried out by: boxed, so that the future of all commands together stays small.
type Going<'a> = Pin<Box<dyn Future<Output = Result<Answer, Trouble>> + Send + 'a>>;

fn sent<'a>(what: impl Future<Output = Result<Answer, Trouble>> + Send + 'a) -> Going<'a> {
    Box::pin(what)
}

/// A command in hand.
struct Desk<'a> {
    controls: &'a Controls,
    admin: &'a Admin,
    by: &'a Authority,
}

impl Desk<'_> {
    /// One arm for each command.
    async fn carry_out(&self, command: Command) -> Result<Answer, Trouble> {
        use Command as C;
        match command {
            C::AdminInvite { life } => sent(self.invite(life)).await,
            C::AdminUnlock { who } => sent(self.unlock(&who)).await,
            C::AuditAfter { at, id, limit } => sent(self.audit_after(at, id, limit)).await,
            C::AuditShow { reference } => sent(self.audit_show(&reference)).await,
            C::AuditTail { limit, tenant, action, actor, target, outcome } => {
                let search = house::Search { limit, tenant, action, actor, target, outcome };
                sent(self.audit_tail(search)).await
            }
            C::Can { user, given } => sent(self.can(&user, &given)).await,
            C::DbBackup { to } => sent(self.backup(to)).await,
            C::DbCheck => sent(self.check_records()).await,
            C::DbReseal => sent(self.reseal()).await,
            C::DeptCreate { org, slug, name } => sent(self.dept_create(&org, &slug, name)).await,
            C::DeptDelete { place, force } => sent(self.dept_delete(&place, force)).await,
            C::DeptEdit { place, name } => sent(self.dept_edit(&place, &name)).await,
            C::DeptList { tenant } => sent(self.dept_list(tenant)).await,
            C::Explain { user, url, given } => sent(self.explain(&user, &url, &given)).await,
            C::ExplainRequest { id } => self.explain_request(&id),
            C::GroupCreate { tenant, slug } => sent(self.group_create(&tenant, &slug)).await,
            C::GroupDelete { group } => sent(self.group_delete(&group)).await,
            C::GroupJoin { group, user } => sent(self.group_join(&group, &user)).await,
            C::GroupLeave { group, user } => sent(self.group_leave(&group, &user)).await,
            C::GroupList { tenant } => sent(self.group_list(tenant)).await,
            C::GroupShow { group } => sent(self.group_show(&group)).await,
            C::IdpDisable { name, reason, lasts } => sent(self.idp_disable(&name, &reason, lasts)).await,
            C::IdpEnable { name } => sent(self.idp_enable(&name)).await,
            C::IdpList => sent(self.idp_list()).await,
            C::IdpShow { name } => sent(self.idp_show(&name)).await,
            C::IdpTest { name, sign_in } => sent(self.idp_test(&name, sign_in)).await,
            C::IdpTestOutcome { handle } => sent(self.idp_test_outcome(&handle)).await,
            C::KeysRotate => sent(self.rotate_keys()).await,
            C::OrgCreate { tenant, slug, name } => sent(self.org_create(&tenant, &slug, name)).await,
            C::OrgDelete { place, force } => sent(self.org_delete(&place, force)).await,
            C::OrgEdit { place, name } => sent(self.org_edit(&place, &name)).await,
            C::OrgList { tenant } => sent(self.org_list(tenant)).await,
            C::Reload => sent(self.reload()).await,
            C::RoleCreate { slug, tenant, wish } => sent(self.role_create(&slug, tenant, wish)).await,
            C::RoleDelete { role, force } => sent(self.role_delete(&role, force)).await,
            C::RoleDiff { first, second } => sent(self.role_diff(&first, &second)).await,
            C::RoleEdit { role, wish } => sent(self.role_edit(&role, wish)).await,
            C::RoleGrant { what, user, at } => sent(self.role_grant(&what, &user, at)).await,
            C::RoleList { tenant } => sent(self.role_list(tenant)).await,
            C::RoleRevoke { what, user, at } => sent(self.role_revoke(&what, &user, at)).await,
            C::RoleShow { role } => sent(self.role_show(&role)).await,
            C::SessionList { user, limit } => sent(self.session_list(user, limit)).await,
            C::SessionRevoke { session } => sent(self.session_revoke(&session)).await,
            C::SessionRevokeAll { user } => sent(self.session_revoke_all(&user)).await,
            C::SessionShow { session } => sent(self.session_show(&session)).await,
            C::Status => sent(self.status()).await,
            C::TenantActivate { tenant } => sent(self.tenant_activate(&tenant)).await,
            C::TenantCreate { slug, name, plan, mfa, domains, owner } => {
                let new = structure::NewTenant { slug, name, plan, mfa, domains, owner };
                sent(self.tenant_create(new)).await
            }
            C::TenantDelete { tenant, force } => sent(self.tenant_delete(&tenant, force)).await,
            C::TenantEdit { tenant, name, plan, mfa, domains } => {
                let edit = structure::TenantEdit { name, plan, mfa, domains };
                sent(self.tenant_edit(&tenant, edit)).await
            }
            C::TenantList => sent(self.tenant_list()).await,
            C::TenantShow { tenant } => sent(self.tenant_show(&tenant)).await,
            C::TenantSuspend { tenant, reason, lasts } => {
                sent(self.tenant_suspend(&tenant, &reason, lasts)).await
            }
            C::TenantTransfer { tenant, to } => sent(self.tenant_transfer(&tenant, &to)).await,
            C::UserActivate { user } => sent(self.user_activate(&user)).await,
            C::UserCreate { username, wish, password, life } => {
                sent(self.user_create(&username, wish, password, life)).await
            }
            C::UserDeactivate { user } => sent(self.user_deactivate(&user)).await,
            C::UserDelete { user } => sent(self.user_delete(&user)).await,
            C::UserEdit { user, wish, leave } => sent(self.user_edit(&user, wish, leave)).await,
            C::UserExport { user } => sent(self.user_export(&user)).await,
            C::UserImport { lines } => sent(self.user_import(lines)).await,
            C::UserLink { user, life } => sent(self.user_link(&user, life)).await,
            C::UserList { status, tenant, role, like, limit } => {
                let list = people::Listing { status, tenant, role, like, limit };
                sent(self.user_list(list)).await
            }
            C::UserResetMfa { user } => sent(self.user_reset_mfa(&user)).await,
            C::UserSetPassword { user, password, keep_sessions } => {
                sent(self.user_set_password(&user, &password, keep_sessions)).await
            }
            C::UserShow { user } => sent(self.user_show(&user)).await,
            C::UserSuspend { user, reason, lasts } => sent(self.user_suspend(&user, &reason, lasts)).await,
            C::Where => Ok(Answer::facts(&[("storage", self.controls.storage.clone())])),
            C::WhoCan { what, at, given } => sent(self.who_can(&what, at, &given)).await,
        }
    }
}
