-- For removing what is older than its retention.
CREATE INDEX batches_buried ON batches (deleted_at) WHERE purges >= 2;
CREATE INDEX contents_by_batch ON contents (batch);
CREATE INDEX audit_by_age ON audit (at);
