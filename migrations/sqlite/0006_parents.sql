-- For finding the batches that hold mended rows of another.
CREATE INDEX batches_by_parent ON batches (json_extract(doc, '$.receipt.parent'), id)
WHERE json_extract(doc, '$.receipt.parent') IS NOT NULL;
