-- Named sets of upload options.

CREATE TABLE profiles (
    name TEXT NOT NULL PRIMARY KEY,
    doc  TEXT NOT NULL
) WITHOUT ROWID, STRICT;
