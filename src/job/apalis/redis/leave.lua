-- Forgets a worker that ended, and what it held: its nudges may be lost, the sweep brings them back.
-- KEYS: 1 workers, 2 its inflight set, 3 its metadata, 4 data, 5 what begins the name of every task's metadata, 6 waiting
-- ARGV: 1 the worker
for _, task in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  redis.call('HDEL', KEYS[4], task)
  redis.call('DEL', KEYS[5] .. ':' .. task)
end
redis.call('ZREM', KEYS[1], ARGV[1])
-- Which jobs those nudges were about is not known here, so all may be nudged again.
return redis.call('DEL', KEYS[2], KEYS[3], KEYS[6])
