-- How a dataset's records are read: the kind of source (empty: a file whose name says its format), and
-- the mapping into the columns that jobs name, as it was checked when it was stored.
ALTER TABLE dataset ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE dataset ADD COLUMN mapping TEXT;
