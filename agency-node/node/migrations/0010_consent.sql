-- What people decided, whom they believe, and the record of it.

-- Data stewards by name, with the Ed25519 key that their approvals are signed with, hex.
CREATE TABLE steward (
    name  TEXT PRIMARY KEY,
    key   TEXT NOT NULL,
    added TEXT NOT NULL
) STRICT;

-- Pinned signing keys of other agencies, by fingerprint.
CREATE TABLE peer (
    agency      TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    how         TEXT NOT NULL,
    added       TEXT NOT NULL
) STRICT;

-- Jobs that were offered and waited for somebody's word.
CREATE TABLE request (
    job        TEXT PRIMARY KEY,
    manifest   TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    outcome    TEXT
) STRICT;

-- Decisions about jobs in the order in which they were made; the newest one counts.
CREATE TABLE decision (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    job      TEXT NOT NULL,
    decision TEXT NOT NULL
) STRICT;

CREATE INDEX decision_of_job ON decision (job, sequence);

-- The audit record: a hash-chained record, one line an entry.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    line     TEXT NOT NULL
) STRICT;

-- The highest time that this node has seen: what has ended stays ended when the clock is set back.
CREATE TABLE clock (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    highest TEXT NOT NULL
) STRICT;

-- What a dataset's version hangs on besides its bytes, so that a version that is written into a record
-- says nothing about a small table. Stays here.
CREATE TABLE salt (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    bytes BLOB NOT NULL
) STRICT;
INSERT INTO salt (id, bytes) VALUES (1, randomblob(32));
