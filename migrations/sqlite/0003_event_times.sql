-- The span of the events of each live batch, for finding events by time.
ALTER TABLE batches ADD COLUMN first_event INTEGER; -- µs since 1970; null: not received yet, or taken away
ALTER TABLE batches ADD COLUMN last_event INTEGER;
UPDATE batches SET
    first_event = json_extract(doc, '$.receipt.event_time[0]'),
    last_event = json_extract(doc, '$.receipt.event_time[1]')
WHERE sealed = 1 AND status NOT IN ('receiving', 'deleting', 'deleted');
CREATE INDEX batches_by_event ON batches (last_event DESC, id DESC, first_event) WHERE last_event IS NOT NULL;
