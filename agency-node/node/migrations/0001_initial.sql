-- State of an agency node. The file is readable by its owner alone: it holds epoch keys.

-- The budget book: a hash-chained record, one line an entry.
CREATE TABLE book (
    sequence INTEGER PRIMARY KEY,
    line     TEXT NOT NULL
) STRICT;

CREATE TABLE dataset (
    name             TEXT PRIMARY KEY,
    path             TEXT    NOT NULL,
    declared_records INTEGER NOT NULL
) STRICT;

CREATE TABLE job (
    hash        TEXT PRIMARY KEY,
    manifest    TEXT NOT NULL,
    epoch       BLOB,
    state       BLOB,
    certificate BLOB,
    outcome     TEXT
) STRICT;
