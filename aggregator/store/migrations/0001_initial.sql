-- State of the aggregator. Times are Unix seconds. Blobs are opaque to the store.
CREATE TABLE token (
    secret_hash BLOB PRIMARY KEY,
    agency      TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;

CREATE TABLE agency (
    name        TEXT PRIMARY KEY,
    signing_key BLOB    NOT NULL UNIQUE,
    enrolled_at INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;

CREATE TABLE job (
    id           TEXT PRIMARY KEY,
    name         TEXT    NOT NULL,
    specification TEXT   NOT NULL,
    submitted_at INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    reason       TEXT    NOT NULL DEFAULT '',
    progress     TEXT    NOT NULL DEFAULT '{}',
    manifest     TEXT,
    snapshot     BLOB
) STRICT;

-- The hash-chained round record, one line an entry.
CREATE TABLE record (
    job      TEXT    NOT NULL REFERENCES job (id),
    sequence INTEGER NOT NULL,
    line     TEXT    NOT NULL,
    PRIMARY KEY (job, sequence)
) STRICT;

-- The published sum of every certified round.
CREATE TABLE published_sum (
    job   TEXT    NOT NULL REFERENCES job (id),
    round INTEGER NOT NULL,
    lanes BLOB    NOT NULL,
    PRIMARY KEY (job, round)
) STRICT;

-- The newest certified state, for nodes that missed rounds.
CREATE TABLE state (
    job         TEXT PRIMARY KEY REFERENCES job (id),
    round       INTEGER NOT NULL,
    bytes       BLOB    NOT NULL,
    certificate BLOB    NOT NULL
) STRICT;
