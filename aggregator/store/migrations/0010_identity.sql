-- People with a role, certificates, and who submitted a job. `token.agency` and `member` below hold an
-- agency's name, or a role and a name as in "researcher/ada".
CREATE TABLE person (
    member      TEXT PRIMARY KEY,
    enrolled_at INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;

-- One row a certificate that was handed out, or, of an agency's own authority, seen.
CREATE TABLE certificate (
    key          BLOB PRIMARY KEY,
    serial       TEXT    NOT NULL,
    member       TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    renewed_from TEXT,
    issued_at    INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_parent ON certificate (renewed_from);
CREATE INDEX certificate_member ON certificate (member);
CREATE INDEX certificate_revoked ON certificate (revoked_at) WHERE revoked_at IS NOT NULL;

-- What each member said last about the authorities that it trusts.
CREATE TABLE trusting (
    member      TEXT PRIMARY KEY,
    authorities TEXT    NOT NULL,
    said_at     INTEGER NOT NULL
) STRICT;

ALTER TABLE job ADD COLUMN submitter TEXT NOT NULL DEFAULT 'local';
