//! Why a change was not made: a stable code for programs, a sentence for people.

use crate::access::NotAllowed;
use crate::crypto::CryptoError;
use crate::domain::Span;
use crate::domain::text::BadText;
use crate::protocol::password::Broken;
use crate::store::DbError;
use crate::sys::Busy;

/// A change that was not made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many passwords are being hashed.
    #[error("too many passwords are being set at the moment; try again in a few seconds")]
    Busy(#[from] Busy),
    /// A text that cannot be what it should be.
    #[error("{0}")]
    Bad(#[from] BadText),
    /// A text that cannot be what it should be, with what it was about.
    #[error("{what}: {why}")]
    BadField {
        /// Which field.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A domain that another tenant has verified.
    #[error("the domain {0} belongs to another tenant. Take it away there first")]
    DomainTaken(String),
    /// An address with which somebody else signs in.
    #[error("the e-mail address {0} is taken: somebody else signs in with it")]
    EmailTaken(String),
    /// The thing still has people, places or grants in it.
    #[error("{kind} {name} is still in use: {by}. Move them first, or repeat with --force")]
    InUse {
        /// What kind of thing.
        kind: &'static str,
        /// Which.
        name: String,
        /// By what.
        by: String,
    },
    /// The last person who can administer everything.
    #[error("{0} is the last administrator. Make somebody else one first")]
    LastAdmin(String),
    /// A link that would live too long.
    #[error("a link of this kind lives for at most {}", .0.words())]
    LinkLife(Span),
    /// The file owns it.
    #[error("{kind} {name} is written in the configuration file. Change it there")]
    ManagedByFile {
        /// What kind of thing.
        kind: &'static str,
        /// Which.
        name: String,
    },
    /// The file and the database both want to own it.
    #[error(
        "{at}: {kind} {name} exists already and was made by hand. Rename one of them, or delete the other"
    )]
    NameClash {
        /// What kind of thing.
        kind: &'static str,
        /// Which.
        name: String,
        /// Where the file says it.
        at: String,
    },
    /// Not theirs to make.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// Only the operator of the host, or only somebody else.
    #[error("{0}")]
    NotYours(&'static str),
    /// Somebody who is not in the tenant.
    #[error("{who} is not a member of {tenant}. Add them first: cardea user edit {who} --join {tenant}")]
    NotMember {
        /// Who.
        who: String,
        /// Of what.
        tenant: String,
    },
    /// Oneself.
    #[error("you cannot {0} your own account. Ask another administrator")]
    Oneself(&'static str),
    /// An owner, or ownership, other than by transfer.
    #[error("{who} owns {tenant}. Transfer it first: cardea tenant transfer {tenant} --to SOMEBODY")]
    OwnerImmutable {
        /// Who.
        who: String,
        /// What.
        tenant: String,
    },
    /// The role is only ever held by whoever owns a tenant.
    #[error(
        "the role owner is given and taken with the tenant alone. Transfer it: cardea tenant transfer TENANT --to SOMEBODY"
    )]
    OwnerRole,
    /// A password that the rules refuse.
    #[error("{}", password_words(.broken, *.min_length))]
    Password {
        /// Which rules.
        broken: Vec<Broken>,
        /// The fewest characters.
        min_length: usize,
    },
    /// An exclusive role and something beside it.
    #[error("{who} cannot hold {one} together with {other}: {} is exclusive", if *.one_is { one } else { other })]
    RoleExclusive {
        /// Who.
        who: String,
        /// The role in question.
        one: String,
        /// What it does not go with.
        other: String,
        /// Whether it is the first that is exclusive, or the second.
        one_is: bool,
    },
    /// A role at a place wider than its scope, or with permissions that its scope cannot give.
    #[error("{0}")]
    RoleScope(String),
    /// There is an administrator.
    #[error("there is an administrator already. A lost password is set anew with: cardea user link NAME")]
    SetUp,
    /// A name that something of its kind has, or had.
    #[error("{kind} {name} exists already, or did once. Choose another name")]
    SlugTaken {
        /// What kind of thing.
        kind: &'static str,
        /// Which.
        name: String,
    },
    /// A built-in role.
    #[error("{0} is a built-in role and cannot be changed. Make a role of your own: cardea role create")]
    SystemRole(String),
    /// There is no such thing, or none that they may know of.
    #[error("there is no {kind} {name}")]
    Unknown {
        /// What kind of thing.
        kind: &'static str,
        /// As asked for.
        name: String,
    },
    /// A username that somebody has, or had.
    #[error("the username \"{0}\" is taken. Choose another")]
    UsernameTaken(String),
    /// The account is in another state than the change needs.
    #[error("{who} is {status}; {help}")]
    WrongStatus {
        /// Who.
        who: String,
        /// What they are.
        status: &'static str,
        /// What to do.
        help: &'static str,
    },
}

impl Error {
    /// Nothing of that name.
    #[expect(clippy::needless_pass_by_value, reason = "ids and texts alike, said where they stand")]
    pub(super) fn unknown(kind: &'static str, name: impl ToString) -> Self {
        Error::Unknown { kind, name: name.to_string() }
    }

    /// The word that programs go by. Never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Busy(_) => "busy",
            Error::Bad(_) | Error::BadField { .. } => "invalid",
            Error::Crypto(_) => "sealed",
            Error::Db(DbError::Unavailable(_)) => "unavailable",
            Error::Db(DbError::Retry) => "retry",
            Error::Db(_) => "database",
            Error::DomainTaken(_) => "domain_taken",
            Error::EmailTaken(_) => "email_taken",
            Error::InUse { .. } => "in_use",
            Error::LastAdmin(_) => "last_admin",
            Error::LinkLife(_) => "link_life",
            Error::ManagedByFile { .. } => "managed_by_file",
            Error::NameClash { .. } => "name_clash",
            Error::NotAllowed(_) | Error::NotYours(_) => "forbidden",
            Error::NotMember { .. } => "not_member",
            Error::Oneself("delete") => "cannot_delete_self",
            Error::Oneself(_) => "cannot_change_self",
            Error::OwnerImmutable { .. } | Error::OwnerRole => "owner_immutable",
            Error::Password { broken, .. } => match broken.first() {
                Some(Broken::Common) => "password_common",
                Some(Broken::Personal) => "password_personal",
                Some(Broken::Short) | None => "password_too_short",
            },
            Error::RoleExclusive { .. } => "role_exclusive",
            Error::RoleScope(_) => "role_scope",
            Error::SetUp => "already_set_up",
            Error::SlugTaken { .. } => "slug_taken",
            Error::SystemRole(_) => "system_role",
            Error::Unknown { .. } => "not_found",
            Error::UsernameTaken(_) => "username_taken",
            Error::WrongStatus { .. } => "wrong_status",
        }
    }

    /// Whether a rule refused it, rather than that something was missing, mistyped or broken.
    #[must_use]
    pub const fn refused(&self) -> bool {
        !matches!(
            self,
            Error::Busy(_)
                | Error::Bad(_)
                | Error::BadField { .. }
                | Error::Crypto(_)
                | Error::Db(_)
                | Error::Unknown { .. }
        )
    }
}

fn password_words(broken: &[Broken], min_length: usize) -> String {
    match broken.first() {
        Some(Broken::Common) => {
            "that password is one of those everybody tries first. Choose another".to_owned()
        }
        Some(Broken::Personal) => {
            "that password has a name in it that others know. Choose another".to_owned()
        }
        Some(Broken::Short) | None => format!("a password has at least {min_length} characters"),
    }
}
