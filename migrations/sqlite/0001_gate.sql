-- The gate: who there is, what they may do, how they came in, and what was done.
-- Times are unix milliseconds. Tables are STRICT. Same tables and keys as the PostgreSQL twin; a test compares them.

CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
) STRICT;

-- One row: the last number given to a change. Its lock makes numbers and commits come in the same order.
CREATE TABLE feed (
    id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT;
INSERT INTO feed (id, seq) VALUES (1, 0);

CREATE TABLE changes (
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (seq)
) STRICT;

CREATE TABLE sealed_keys (
    id BLOB NOT NULL CHECK (length(id) = 16),
    purpose TEXT NOT NULL,
    sealed BLOB NOT NULL,
    public TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (id)
) STRICT;

CREATE TABLE users (
    id BLOB NOT NULL CHECK (length(id) = 16),
    username TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT,
    sign_in_email TEXT,
    kind TEXT NOT NULL CONSTRAINT users_kind_check CHECK (kind IN ('admin', 'user')),
    status TEXT NOT NULL CONSTRAINT users_status_check CHECK (status IN ('active', 'inactive', 'suspended', 'invited', 'deleted')),
    suspended_by TEXT,
    suspended_at INTEGER,
    suspended_reason TEXT,
    suspended_until INTEGER,
    must_change_password INTEGER NOT NULL CHECK (must_change_password IN (0, 1)),
    epoch INTEGER NOT NULL,
    last_sign_in_at INTEGER,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (username),
    UNIQUE (sign_in_email)
) STRICT;
CREATE INDEX users_page_idx ON users (created_at, id);

CREATE TABLE tenants (
    id BLOB NOT NULL CHECK (length(id) = 16),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    plan TEXT NOT NULL,
    status TEXT NOT NULL CONSTRAINT tenants_status_check CHECK (status IN ('active', 'pending', 'suspended', 'retired')),
    suspended_by TEXT,
    suspended_at INTEGER,
    suspended_reason TEXT,
    suspended_until INTEGER,
    owner_id BLOB REFERENCES users (id) ON DELETE RESTRICT CHECK (length(owner_id) = 16),
    mfa_required INTEGER NOT NULL CHECK (mfa_required IN (0, 1)),
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (slug)
) STRICT;
CREATE INDEX tenants_owner_idx ON tenants (owner_id);

CREATE TABLE tenant_domains (
    domain TEXT NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    PRIMARY KEY (domain)
) STRICT;
CREATE INDEX tenant_domains_tenant_idx ON tenant_domains (tenant_id);

CREATE TABLE orgs (
    id BLOB NOT NULL CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    origin TEXT NOT NULL,
    retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (tenant_id, slug)
) STRICT;

CREATE TABLE departments (
    id BLOB NOT NULL CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    org_id BLOB NOT NULL REFERENCES orgs (id) ON DELETE CASCADE CHECK (length(org_id) = 16),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    origin TEXT NOT NULL,
    retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (org_id, slug)
) STRICT;
CREATE INDEX departments_tenant_idx ON departments (tenant_id);

CREATE TABLE passwords (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    hash TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    PRIMARY KEY (user_id)
) STRICT;

CREATE TABLE factors (
    id BLOB NOT NULL CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    kind TEXT NOT NULL CONSTRAINT factors_kind_check CHECK (kind IN ('totp')),
    sealed BLOB NOT NULL,
    last_step INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (user_id, kind)
) STRICT;

CREATE TABLE recovery_codes (
    digest BLOB NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (digest)
) STRICT;
CREATE INDEX recovery_codes_user_idx ON recovery_codes (user_id);

CREATE TABLE memberships (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    org_id BLOB REFERENCES orgs (id) ON DELETE SET NULL CHECK (length(org_id) = 16),
    department_id BLOB REFERENCES departments (id) ON DELETE SET NULL CHECK (length(department_id) = 16),
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, tenant_id)
) STRICT;
CREATE INDEX memberships_tenant_idx ON memberships (tenant_id, user_id);
CREATE INDEX memberships_org_idx ON memberships (org_id);
CREATE INDEX memberships_department_idx ON memberships (department_id);

CREATE TABLE groups (
    id BLOB NOT NULL CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    slug TEXT NOT NULL,
    origin TEXT NOT NULL,
    retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (tenant_id, slug)
) STRICT;

CREATE TABLE group_members (
    group_id BLOB NOT NULL REFERENCES groups (id) ON DELETE CASCADE CHECK (length(group_id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id, origin)
) STRICT;
CREATE INDEX group_members_user_idx ON group_members (user_id);
CREATE INDEX group_members_tenant_idx ON group_members (tenant_id);

-- owner_key is the tenant's id as text, empty for roles of the whole system: a unique key needs a value that is never NULL.
CREATE TABLE roles (
    id BLOB NOT NULL CHECK (length(id) = 16),
    tenant_id BLOB REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    owner_key TEXT NOT NULL,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    scope TEXT NOT NULL CONSTRAINT roles_scope_check CHECK (scope IN ('global', 'tenant', 'organization', 'department', 'self')),
    exclusive INTEGER NOT NULL CHECK (exclusive IN (0, 1)),
    auto_assigned INTEGER NOT NULL CHECK (auto_assigned IN (0, 1)),
    mfa_required INTEGER NOT NULL CHECK (mfa_required IN (0, 1)),
    landing TEXT,
    origin TEXT NOT NULL,
    retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (owner_key, slug)
) STRICT;
CREATE INDEX roles_tenant_idx ON roles (tenant_id);

CREATE TABLE role_permissions (
    role_id BLOB NOT NULL REFERENCES roles (id) ON DELETE CASCADE CHECK (length(role_id) = 16),
    permission TEXT NOT NULL,
    PRIMARY KEY (role_id, permission)
) STRICT;

-- place_key is the place as text, so that the same grant from the same origin exists once.
CREATE TABLE assignments (
    id BLOB NOT NULL CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    role_id BLOB NOT NULL REFERENCES roles (id) ON DELETE CASCADE CHECK (length(role_id) = 16),
    tenant_id BLOB REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    org_id BLOB REFERENCES orgs (id) ON DELETE CASCADE CHECK (length(org_id) = 16),
    department_id BLOB REFERENCES departments (id) ON DELETE CASCADE CHECK (length(department_id) = 16),
    place_key TEXT NOT NULL,
    origin TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (user_id, role_id, place_key, origin)
) STRICT;
CREATE INDEX assignments_role_idx ON assignments (role_id);
CREATE INDEX assignments_tenant_idx ON assignments (tenant_id);
CREATE INDEX assignments_org_idx ON assignments (org_id);
CREATE INDEX assignments_department_idx ON assignments (department_id);

CREATE TABLE direct_grants (
    id BLOB NOT NULL CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    permission TEXT NOT NULL,
    tenant_id BLOB REFERENCES tenants (id) ON DELETE CASCADE CHECK (length(tenant_id) = 16),
    org_id BLOB REFERENCES orgs (id) ON DELETE CASCADE CHECK (length(org_id) = 16),
    department_id BLOB REFERENCES departments (id) ON DELETE CASCADE CHECK (length(department_id) = 16),
    place_key TEXT NOT NULL,
    origin TEXT NOT NULL,
    granted_by TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (user_id, permission, place_key, origin)
) STRICT;
CREATE INDEX direct_grants_tenant_idx ON direct_grants (tenant_id);
CREATE INDEX direct_grants_org_idx ON direct_grants (org_id);
CREATE INDEX direct_grants_department_idx ON direct_grants (department_id);

CREATE TABLE sessions (
    id BLOB NOT NULL CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    tenant_id BLOB REFERENCES tenants (id) ON DELETE SET NULL CHECK (length(tenant_id) = 16),
    first_factor TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    second_factor TEXT,
    second_at INTEGER,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    idle_until INTEGER NOT NULL,
    absolute_until INTEGER NOT NULL,
    ended_at INTEGER,
    ended_why TEXT,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (id)
) STRICT;
CREATE INDEX sessions_user_idx ON sessions (user_id, created_at);
CREATE INDEX sessions_tenant_idx ON sessions (tenant_id);
CREATE INDEX sessions_absolute_idx ON sessions (absolute_until);

-- One token per session and host, kept as digest, with the level at which it was issued.
CREATE TABLE session_tokens (
    digest BLOB NOT NULL,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE CHECK (length(session_id) = 16),
    host TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    second_factor TEXT,
    second_at INTEGER,
    issued_at INTEGER NOT NULL,
    PRIMARY KEY (digest)
) STRICT;
CREATE INDEX session_tokens_session_idx ON session_tokens (session_id, host);

CREATE TABLE flows (
    digest BLOB NOT NULL,
    browser BLOB NOT NULL,
    stage TEXT NOT NULL,
    purpose TEXT NOT NULL,
    return_to TEXT NOT NULL,
    pending BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (digest)
) STRICT;
CREATE INDEX flows_expires_idx ON flows (expires_at);

CREATE TABLE handoffs (
    digest BLOB NOT NULL,
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE CHECK (length(session_id) = 16),
    host TEXT NOT NULL,
    browser BLOB NOT NULL,
    return_to TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (digest)
) STRICT;
CREATE INDEX handoffs_session_idx ON handoffs (session_id);
CREATE INDEX handoffs_expires_idx ON handoffs (expires_at);

CREATE TABLE links (
    digest BLOB NOT NULL,
    purpose TEXT NOT NULL CONSTRAINT links_purpose_check CHECK (purpose IN ('setup', 'password', 'enrolment')),
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (digest)
) STRICT;
CREATE INDEX links_user_idx ON links (user_id);

CREATE TABLE throttles (
    subject TEXT NOT NULL,
    failures INTEGER NOT NULL,
    window_at INTEGER NOT NULL,
    blocked_until INTEGER NOT NULL,
    PRIMARY KEY (subject)
) STRICT;
CREATE INDEX throttles_window_idx ON throttles (window_at);

CREATE TABLE known_sources (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    source TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, source)
) STRICT;

-- chain_* wait for the tamper-evident chain; they are here so that it needs no rewrite of a large table.
CREATE TABLE audit (
    id BLOB NOT NULL CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    tenant_id BLOB CHECK (length(tenant_id) = 16),
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    target_kind TEXT,
    target TEXT,
    session_id BLOB CHECK (length(session_id) = 16),
    address TEXT,
    reference TEXT,
    detail TEXT NOT NULL,
    chain_seq INTEGER,
    chain_prev BLOB,
    chain_mac BLOB,
    PRIMARY KEY (id)
) STRICT;
CREATE INDEX audit_page_idx ON audit (at, id);
CREATE INDEX audit_tenant_idx ON audit (tenant_id, at, id);
CREATE INDEX audit_reference_idx ON audit (reference);
