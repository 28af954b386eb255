-- One document per batch and job as JSON; beside it the columns that are searched by.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE batches (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT, -- the small name of a batch in the large tables
    id              TEXT    NOT NULL UNIQUE,           -- UUIDv7: sorts by time of creation
    status          TEXT    NOT NULL,
    sealed          INTEGER NOT NULL,                  -- 1: it has a receipt, so people may see it
    fence           INTEGER NOT NULL,
    published_token INTEGER,                           -- null: nothing of it is published
    checked_at      INTEGER NOT NULL,                  -- ms since 1970; 0 = never
    deleted_at      INTEGER,                           -- ms since 1970
    purges          INTEGER NOT NULL,
    doc             TEXT    NOT NULL
) STRICT;
CREATE INDEX batches_by_status ON batches (status, sealed, id);
CREATE INDEX batches_by_check ON batches (checked_at) WHERE published_token IS NOT NULL;
CREATE INDEX batches_unpurged ON batches (deleted_at) WHERE deleted_at IS NOT NULL AND purges < 2;

CREATE TABLE contents (
    digest BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of decoded bytes and result-changing options
    batch  INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE rejections (
    batch INTEGER NOT NULL,
    row   INTEGER NOT NULL,
    doc   TEXT    NOT NULL,
    PRIMARY KEY (batch, row)
) WITHOUT ROWID, STRICT;

CREATE TABLE claims (
    key     BLOB    NOT NULL PRIMARY KEY, -- 16 bytes: the identity
    batch   INTEGER NOT NULL,
    row     INTEGER NOT NULL,
    content INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE overlaps (
    loser      TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    duplicates INTEGER NOT NULL,
    conflicts  INTEGER NOT NULL,
    samples    TEXT    NOT NULL,
    PRIMARY KEY (loser, owner)
) WITHOUT ROWID, STRICT;
CREATE INDEX overlaps_by_owner ON overlaps (owner, loser);

CREATE TABLE partials (
    day        INTEGER NOT NULL,
    batch      INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    event_type TEXT    NOT NULL,
    data       BLOB    NOT NULL,
    PRIMARY KEY (day, batch, token, event_type)
) WITHOUT ROWID, STRICT;
CREATE INDEX partials_by_batch ON partials (batch, token);

CREATE TABLE days (
    day         INTEGER PRIMARY KEY,
    wanted      INTEGER NOT NULL,
    computed    INTEGER NOT NULL,
    computed_at INTEGER,  -- ms since 1970
    total       BLOB      -- null: no events on that day
) STRICT;
CREATE INDEX days_stale ON days (day) WHERE wanted > computed;

CREATE TABLE day_types (
    day        INTEGER NOT NULL,
    event_type TEXT    NOT NULL,
    data       BLOB    NOT NULL,
    PRIMARY KEY (day, event_type)
) WITHOUT ROWID, STRICT;

CREATE TABLE jobs (
    id         TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    run_at     INTEGER NOT NULL, -- ms since 1970
    changed_at INTEGER NOT NULL, -- ms since 1970
    doc        TEXT    NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX jobs_due ON jobs (run_at) WHERE state = 'queued';
CREATE INDEX jobs_by_state ON jobs (state, changed_at, id);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at  INTEGER NOT NULL, -- ms since 1970
    doc TEXT    NOT NULL
) STRICT;
