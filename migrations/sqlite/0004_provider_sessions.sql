-- What is known of a session at the provider that it came from, until it ends.
CREATE TABLE provider_sessions (
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE CHECK (length(session_id) = 16),
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    sid TEXT,
    tokens BLOB,
    confirmed_at INTEGER NOT NULL,
    due_at INTEGER,
    PRIMARY KEY (session_id, provider)
) STRICT;
CREATE INDEX provider_sessions_subject_idx ON provider_sessions (provider, subject);
CREATE INDEX provider_sessions_sid_idx ON provider_sessions (provider, sid);
CREATE INDEX provider_sessions_due_idx ON provider_sessions (due_at);

-- Digests of what providers have signed out, and of logout tokens that were used.
CREATE TABLE provider_logouts (
    digest BLOB NOT NULL,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (digest)
) STRICT;
CREATE INDEX provider_logouts_expires_idx ON provider_logouts (expires_at);

-- What a provider vouched for, sealed, until the sign-in has made a session of it.
ALTER TABLE flows ADD COLUMN vouched BLOB;
