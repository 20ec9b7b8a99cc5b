-- Addresses that only a provider has said somebody has: to write to, and worth nothing else until somebody vouches for them.

CREATE TABLE claimed_emails (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE CHECK (length(user_id) = 16),
    email TEXT NOT NULL,
    PRIMARY KEY (user_id)
) STRICT;
