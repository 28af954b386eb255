-- Removes an ended worker and the nudges that it had fetched. The reconciler repeats those nudges.
-- KEYS: 1 workers, 2 its inflight set, 3 its metadata, 4 data, 5 prefix of the metadata of a task, 6 waiting
-- ARGV: 1 the worker
for _, task in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  redis.call('HDEL', KEYS[4], task)
  redis.call('DEL', KEYS[5] .. ':' .. task)
end
redis.call('ZREM', KEYS[1], ARGV[1])
-- The jobs of those nudges are unknown here, so all jobs may be nudged again.
return redis.call('DEL', KEYS[2], KEYS[3], KEYS[6])
