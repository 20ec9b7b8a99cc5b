-- SAML: responses and assertions that have come, by their ids, until no check would let them through again.

CREATE TABLE assertions (
    provider  TEXT COLLATE "C" NOT NULL,
    id        TEXT COLLATE "C" NOT NULL,
    forget_at BIGINT NOT NULL,
    PRIMARY KEY (provider, id)
);
CREATE INDEX assertions_forget_idx ON assertions (forget_at);
