//! Everything that the snapshot holds, read in one go.

use super::groups::Group;
use super::statement::statements;
use super::tenants::{Department, Org, Tenant};
use super::{Conn, DbError, groups, roles, tenants};
use crate::domain::{Hostname, Role, TenantId};

statements! {
    VERSION = "SELECT seq FROM feed WHERE id = 1";
}

/// The tenant tree with its roles.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Grows with every change that anybody was told of.
    pub version: i64,
    /// Tenants that are not retired.
    pub tenants: Vec<Tenant>,
    /// Verified domains and whose they are.
    pub domains: Vec<(Hostname, TenantId)>,
    /// Organisations.
    pub orgs: Vec<Org>,
    /// Departments.
    pub departments: Vec<Department>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Roles with their permissions.
    pub roles: Vec<Role>,
}

/// Reads the tree.
///
/// # Errors
/// When the database fails.
pub async fn load(conn: &mut Conn) -> Result<Tree, DbError> {
    Ok(Tree {
        version: conn.query(VERSION).one(|row| row.get("seq")).await?,
        tenants: tenants::all(conn).await?,
        domains: tenants::domains(conn).await?,
        orgs: tenants::orgs(conn).await?,
        departments: tenants::departments(conn).await?,
        groups: groups::all(conn).await?,
        roles: roles::all(conn).await?,
    })
}
