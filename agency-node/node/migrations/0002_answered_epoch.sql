-- The newest epoch and restart that this node has answered in a job, whatever became of it: one
-- number never gets two coins, also after a restart of the node.
ALTER TABLE job ADD COLUMN answered_epoch INTEGER;
ALTER TABLE job ADD COLUMN answered_restart INTEGER;
