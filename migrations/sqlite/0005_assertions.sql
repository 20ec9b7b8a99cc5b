-- SAML: responses and assertions that have come, by their ids, until no check would let them through again.

CREATE TABLE assertions (
    provider TEXT NOT NULL,
    id TEXT NOT NULL,
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (provider, id)
) STRICT;
CREATE INDEX assertions_forget_idx ON assertions (forget_at);
