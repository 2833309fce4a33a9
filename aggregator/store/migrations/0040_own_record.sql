-- The aggregator's own record of who did what: hash-chained lines that the store does not look into.
CREATE TABLE own_record (
    sequence INTEGER PRIMARY KEY,
    line     TEXT NOT NULL
) STRICT;
