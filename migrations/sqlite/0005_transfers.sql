-- Files that arrive in parts.

CREATE TABLE transfers (
    id       TEXT    NOT NULL PRIMARY KEY,
    length   INTEGER NOT NULL,
    open     INTEGER NOT NULL, -- 1: it has no outcome
    moved_at INTEGER NOT NULL, -- ms since 1970
    doc      TEXT    NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX transfers_open ON transfers (length) WHERE open = 1;
CREATE INDEX transfers_by_age ON transfers (moved_at);

CREATE TABLE parts (
    transfer TEXT    NOT NULL,
    start    INTEGER NOT NULL,
    length   INTEGER NOT NULL,
    file     TEXT    NOT NULL, -- in the directory `parts`
    PRIMARY KEY (transfer, start)
) WITHOUT ROWID, STRICT;
CREATE INDEX parts_by_file ON parts (file);
