-- The gate: who there is, what they may do, how they came in, and what was done.
-- Times are unix milliseconds. Every TEXT is COLLATE "C". Same tables and keys as the SQLite twin; a test compares them.

CREATE TABLE meta (
    name  TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name)
);

-- One row: the last number given to a change. Its lock makes numbers and commits come in the same order.
CREATE TABLE feed (
    id  BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (id)
);
INSERT INTO feed (id, seq) VALUES (1, 0);

CREATE TABLE changes (
    seq     BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE sealed_keys (
    id         UUID NOT NULL,
    purpose    TEXT COLLATE "C" NOT NULL,
    sealed     BYTEA NOT NULL,
    public     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    PRIMARY KEY (id)
);

CREATE TABLE users (
    id                   UUID NOT NULL,
    username             TEXT COLLATE "C" NOT NULL,
    name                 TEXT COLLATE "C" NOT NULL,
    email                TEXT COLLATE "C",
    sign_in_email        TEXT COLLATE "C",
    kind                 TEXT COLLATE "C" NOT NULL CONSTRAINT users_kind_check CHECK (kind IN ('admin', 'user')),
    status               TEXT COLLATE "C" NOT NULL CONSTRAINT users_status_check CHECK (status IN ('active', 'inactive', 'suspended', 'invited', 'deleted')),
    suspended_by         TEXT COLLATE "C",
    suspended_at         BIGINT,
    suspended_reason     TEXT COLLATE "C",
    suspended_until      BIGINT,
    must_change_password BOOLEAN NOT NULL,
    epoch                BIGINT NOT NULL,
    last_sign_in_at      BIGINT,
    created_at           BIGINT NOT NULL,
    version              BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (username),
    UNIQUE (sign_in_email)
);
CREATE INDEX users_page_idx ON users (created_at, id);

CREATE TABLE tenants (
    id               UUID NOT NULL,
    slug             TEXT COLLATE "C" NOT NULL,
    name             TEXT COLLATE "C" NOT NULL,
    plan             TEXT COLLATE "C" NOT NULL,
    status           TEXT COLLATE "C" NOT NULL CONSTRAINT tenants_status_check CHECK (status IN ('active', 'pending', 'suspended', 'retired')),
    suspended_by     TEXT COLLATE "C",
    suspended_at     BIGINT,
    suspended_reason TEXT COLLATE "C",
    suspended_until  BIGINT,
    owner_id         UUID REFERENCES users (id) ON DELETE RESTRICT,
    mfa_required     BOOLEAN NOT NULL,
    origin           TEXT COLLATE "C" NOT NULL,
    created_at       BIGINT NOT NULL,
    version          BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (slug)
);
CREATE INDEX tenants_owner_idx ON tenants (owner_id);

CREATE TABLE tenant_domains (
    domain    TEXT COLLATE "C" NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    PRIMARY KEY (domain)
);
CREATE INDEX tenant_domains_tenant_idx ON tenant_domains (tenant_id);

CREATE TABLE orgs (
    id         UUID NOT NULL,
    tenant_id  UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    slug       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    origin     TEXT COLLATE "C" NOT NULL,
    retired    BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (tenant_id, slug)
);

CREATE TABLE departments (
    id         UUID NOT NULL,
    tenant_id  UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    org_id     UUID NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
    slug       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    origin     TEXT COLLATE "C" NOT NULL,
    retired    BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (org_id, slug)
);
CREATE INDEX departments_tenant_idx ON departments (tenant_id);

CREATE TABLE passwords (
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    TEXT COLLATE "C" NOT NULL,
    set_at  BIGINT NOT NULL,
    PRIMARY KEY (user_id)
);

CREATE TABLE factors (
    id         UUID NOT NULL,
    user_id    UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind       TEXT COLLATE "C" NOT NULL CONSTRAINT factors_kind_check CHECK (kind IN ('totp')),
    sealed     BYTEA NOT NULL,
    last_step  BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (user_id, kind)
);

CREATE TABLE recovery_codes (
    digest     BYTEA NOT NULL,
    user_id    UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    used_at    BIGINT,
    PRIMARY KEY (digest)
);
CREATE INDEX recovery_codes_user_idx ON recovery_codes (user_id);

CREATE TABLE memberships (
    user_id       UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id     UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    org_id        UUID REFERENCES orgs (id) ON DELETE SET NULL,
    department_id UUID REFERENCES departments (id) ON DELETE SET NULL,
    origin        TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX memberships_tenant_idx ON memberships (tenant_id, user_id);
CREATE INDEX memberships_org_idx ON memberships (org_id);
CREATE INDEX memberships_department_idx ON memberships (department_id);

CREATE TABLE groups (
    id         UUID NOT NULL,
    tenant_id  UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    slug       TEXT COLLATE "C" NOT NULL,
    origin     TEXT COLLATE "C" NOT NULL,
    retired    BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (tenant_id, slug)
);

CREATE TABLE group_members (
    group_id   UUID NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id    UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id  UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    origin     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id, origin)
);
CREATE INDEX group_members_user_idx ON group_members (user_id);
CREATE INDEX group_members_tenant_idx ON group_members (tenant_id);

-- owner_key is the tenant's id as text, empty for roles of the whole system: a unique key needs a value that is never NULL.
CREATE TABLE roles (
    id            UUID NOT NULL,
    tenant_id     UUID REFERENCES tenants (id) ON DELETE CASCADE,
    owner_key     TEXT COLLATE "C" NOT NULL,
    slug          TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    description   TEXT COLLATE "C" NOT NULL,
    scope         TEXT COLLATE "C" NOT NULL CONSTRAINT roles_scope_check CHECK (scope IN ('global', 'tenant', 'organization', 'department', 'self')),
    exclusive     BOOLEAN NOT NULL,
    auto_assigned BOOLEAN NOT NULL,
    mfa_required  BOOLEAN NOT NULL,
    landing       TEXT COLLATE "C",
    origin        TEXT COLLATE "C" NOT NULL,
    retired       BOOLEAN NOT NULL,
    created_at    BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (owner_key, slug)
);
CREATE INDEX roles_tenant_idx ON roles (tenant_id);

CREATE TABLE role_permissions (
    role_id    UUID NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    permission TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (role_id, permission)
);

-- place_key is the place as text, so that the same grant from the same origin exists once.
CREATE TABLE assignments (
    id            UUID NOT NULL,
    user_id       UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id       UUID NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    tenant_id     UUID REFERENCES tenants (id) ON DELETE CASCADE,
    org_id        UUID REFERENCES orgs (id) ON DELETE CASCADE,
    department_id UUID REFERENCES departments (id) ON DELETE CASCADE,
    place_key     TEXT COLLATE "C" NOT NULL,
    origin        TEXT COLLATE "C" NOT NULL,
    granted_by    TEXT COLLATE "C" NOT NULL,
    granted_at    BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (user_id, role_id, place_key, origin)
);
CREATE INDEX assignments_role_idx ON assignments (role_id);
CREATE INDEX assignments_tenant_idx ON assignments (tenant_id);
CREATE INDEX assignments_org_idx ON assignments (org_id);
CREATE INDEX assignments_department_idx ON assignments (department_id);

CREATE TABLE direct_grants (
    id            UUID NOT NULL,
    user_id       UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    permission    TEXT COLLATE "C" NOT NULL,
    tenant_id     UUID REFERENCES tenants (id) ON DELETE CASCADE,
    org_id        UUID REFERENCES orgs (id) ON DELETE CASCADE,
    department_id UUID REFERENCES departments (id) ON DELETE CASCADE,
    place_key     TEXT COLLATE "C" NOT NULL,
    origin        TEXT COLLATE "C" NOT NULL,
    granted_by    TEXT COLLATE "C" NOT NULL,
    granted_at    BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (user_id, permission, place_key, origin)
);
CREATE INDEX direct_grants_tenant_idx ON direct_grants (tenant_id);
CREATE INDEX direct_grants_org_idx ON direct_grants (org_id);
CREATE INDEX direct_grants_department_idx ON direct_grants (department_id);

CREATE TABLE sessions (
    id             UUID NOT NULL,
    user_id        UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id      UUID REFERENCES tenants (id) ON DELETE SET NULL,
    first_factor   TEXT COLLATE "C" NOT NULL,
    first_at       BIGINT NOT NULL,
    second_factor  TEXT COLLATE "C",
    second_at      BIGINT,
    created_at     BIGINT NOT NULL,
    seen_at        BIGINT NOT NULL,
    idle_until     BIGINT NOT NULL,
    absolute_until BIGINT NOT NULL,
    ended_at       BIGINT,
    ended_why      TEXT COLLATE "C",
    address        TEXT COLLATE "C" NOT NULL,
    agent          TEXT COLLATE "C" NOT NULL,
    data           TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX sessions_user_idx ON sessions (user_id, created_at);
CREATE INDEX sessions_tenant_idx ON sessions (tenant_id);
CREATE INDEX sessions_absolute_idx ON sessions (absolute_until);

-- One token per session and host, kept as digest, with the level at which it was issued.
CREATE TABLE session_tokens (
    digest        BYTEA NOT NULL,
    session_id    UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    host          TEXT COLLATE "C" NOT NULL,
    first_at      BIGINT NOT NULL,
    second_factor TEXT COLLATE "C",
    second_at     BIGINT,
    issued_at     BIGINT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX session_tokens_session_idx ON session_tokens (session_id, host);

CREATE TABLE flows (
    digest     BYTEA NOT NULL,
    browser    BYTEA NOT NULL,
    stage      TEXT COLLATE "C" NOT NULL,
    purpose    TEXT COLLATE "C" NOT NULL,
    return_to  TEXT COLLATE "C" NOT NULL,
    pending    BYTEA,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX flows_expires_idx ON flows (expires_at);

CREATE TABLE handoffs (
    digest     BYTEA NOT NULL,
    session_id UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    host       TEXT COLLATE "C" NOT NULL,
    browser    BYTEA NOT NULL,
    return_to  TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX handoffs_session_idx ON handoffs (session_id);
CREATE INDEX handoffs_expires_idx ON handoffs (expires_at);

CREATE TABLE links (
    digest     BYTEA NOT NULL,
    purpose    TEXT COLLATE "C" NOT NULL CONSTRAINT links_purpose_check CHECK (purpose IN ('setup', 'password', 'enrolment')),
    user_id    UUID REFERENCES users (id) ON DELETE CASCADE,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT,
    PRIMARY KEY (digest)
);
CREATE INDEX links_user_idx ON links (user_id);

CREATE TABLE throttles (
    subject       TEXT COLLATE "C" NOT NULL,
    failures      BIGINT NOT NULL,
    window_at     BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL,
    PRIMARY KEY (subject)
);
CREATE INDEX throttles_window_idx ON throttles (window_at);

CREATE TABLE known_sources (
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    source  TEXT COLLATE "C" NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, source)
);

-- chain_* wait for the tamper-evident chain; they are here so that it needs no rewrite of a large table.
CREATE TABLE audit (
    id          UUID NOT NULL,
    at          BIGINT NOT NULL,
    tenant_id   UUID,
    actor_kind  TEXT COLLATE "C" NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    action      TEXT COLLATE "C" NOT NULL,
    outcome     TEXT COLLATE "C" NOT NULL,
    target_kind TEXT COLLATE "C",
    target      TEXT COLLATE "C",
    session_id  UUID,
    address     TEXT COLLATE "C",
    reference   TEXT COLLATE "C",
    detail      TEXT COLLATE "C" NOT NULL,
    chain_seq   BIGINT,
    chain_prev  BYTEA,
    chain_mac   BYTEA,
    PRIMARY KEY (id)
);
CREATE INDEX audit_page_idx ON audit (at, id);
CREATE INDEX audit_tenant_idx ON audit (tenant_id, at, id);
CREATE INDEX audit_reference_idx ON audit (reference);
