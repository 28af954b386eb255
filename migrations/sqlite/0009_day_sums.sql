-- The published runs with events on a day, and the kept sums of spans of them.
CREATE TABLE day_batches (
    day   INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (day, batch)
) WITHOUT ROWID, STRICT;
INSERT INTO day_batches (day, batch, token)
    SELECT DISTINCT p.day, p.batch, p.token FROM partials p JOIN batches b ON b.seq = p.batch
    WHERE p.token = b.published_token;

CREATE TABLE day_sums (
    day         INTEGER NOT NULL,
    level       INTEGER NOT NULL,
    last        INTEGER NOT NULL, -- the last batch of the span
    fingerprint BLOB    NOT NULL, -- of its batches and their tokens
    PRIMARY KEY (day, level, last)
) WITHOUT ROWID, STRICT;
CREATE INDEX day_sums_by_last ON day_sums (last);

CREATE TABLE day_sum_types (
    day        INTEGER NOT NULL,
    level      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    event_type TEXT    NOT NULL,
    data       BLOB    NOT NULL,
    PRIMARY KEY (day, level, last, event_type)
) WITHOUT ROWID, STRICT;
