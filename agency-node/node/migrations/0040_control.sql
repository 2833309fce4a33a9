-- SCAFFOLD: this agency's control variate of a job, with what a vector under way would make of it.
-- Derived from records; it stays here, and goes when the job ends.
ALTER TABLE job ADD COLUMN control BLOB;
