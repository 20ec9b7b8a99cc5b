-- What is known of a session at the provider that it came from, until it ends.
CREATE TABLE provider_sessions (
    session_id   UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    provider     TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    sid          TEXT COLLATE "C",
    tokens       BYTEA,
    confirmed_at BIGINT NOT NULL,
    due_at       BIGINT,
    PRIMARY KEY (session_id, provider)
);
CREATE INDEX provider_sessions_subject_idx ON provider_sessions (provider, subject);
CREATE INDEX provider_sessions_sid_idx ON provider_sessions (provider, sid);
CREATE INDEX provider_sessions_due_idx ON provider_sessions (due_at);

-- Digests of what providers have signed out, and of logout tokens that were used.
CREATE TABLE provider_logouts (
    digest     BYTEA NOT NULL,
    at         BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX provider_logouts_expires_idx ON provider_logouts (expires_at);

-- What a provider vouched for, sealed, until the sign-in has made a session of it.
ALTER TABLE flows ADD COLUMN vouched BYTEA;
