-- Federation: which account belongs to whom at an identity provider, and which providers are switched off.

CREATE TABLE identities (
    provider   TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    issuer     TEXT COLLATE "C" NOT NULL,
    user_id    UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    PRIMARY KEY (provider, subject)
);
CREATE INDEX identities_user_idx ON identities (user_id);

CREATE TABLE provider_stops (
    provider   TEXT COLLATE "C" NOT NULL,
    stopped_by TEXT COLLATE "C" NOT NULL,
    stopped_at BIGINT NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    until      BIGINT,
    PRIMARY KEY (provider)
);
