-- Hash of a registered file's bytes at registration, to notice a copy under another name. Stays here:
-- a hash of records never leaves the agency, with the book's export either.
ALTER TABLE dataset ADD COLUMN content TEXT;

-- The first entry of the book whose head was also written to a file of its own (book.head). From
-- then on that file must be there.
CREATE TABLE anchor (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL
) STRICT;
