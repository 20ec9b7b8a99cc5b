-- Addresses that only a provider has said somebody has: to write to, and worth nothing else until somebody vouches for them.

CREATE TABLE claimed_emails (
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id)
);
