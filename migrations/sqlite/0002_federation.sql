-- Federation: which account belongs to whom at an identity provider, and which providers are switched off.

CREATE TABLE identities (
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    issuer TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (provider, subject)
) STRICT;
CREATE INDEX identities_user_idx ON identities (user_id);

CREATE TABLE provider_stops (
    provider TEXT NOT NULL,
    stopped_by TEXT NOT NULL,
    stopped_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER,
    PRIMARY KEY (provider)
) STRICT;
