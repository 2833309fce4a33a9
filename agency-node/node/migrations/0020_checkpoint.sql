-- Where the aggregator's record of a job ended, signed by it. What contradicts an earlier one is kept
-- beside it, with the reason.
CREATE TABLE checkpoint (
    job       TEXT    NOT NULL,
    length    INTEGER NOT NULL,
    head      BLOB    NOT NULL,
    signature BLOB    NOT NULL,
    conflict  TEXT,
    PRIMARY KEY (job, length, head)
) STRICT;
