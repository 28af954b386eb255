-- Requests that clients have named.

CREATE TABLE keys (
    key       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of caller, route and what the caller chose
    batch     TEXT    NOT NULL,
    content   BLOB,                         -- null: still arriving
    outcome   TEXT,
    opened_at INTEGER NOT NULL              -- ms since 1970
) WITHOUT ROWID, STRICT;
CREATE INDEX keys_by_age ON keys (opened_at);
