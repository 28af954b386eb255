-- The value of the batch's `wanted` before a request to process it under a key.
ALTER TABLE keys ADD COLUMN wanted INTEGER;
