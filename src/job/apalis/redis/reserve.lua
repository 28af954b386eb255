-- Reserves room for a nudge unless its job waits already or the queue is full. Atomic for all processes.
-- KEYS: 1 scheduled, 2 active, 3 workers, 4 prefix of a worker's inflight set, 5 waiting, 6 pushing
-- ARGV: 1 job, 2 id of this reservation, 3 most outstanding nudges, 4 milliseconds for which the reservation counts
-- Returns: 1 granted, 0 already waiting, -1 full
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The score of a waiting job or a reservation is the time at which it expires.
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now)
if redis.call('ZSCORE', KEYS[5], ARGV[1]) then
  return 0
end
local outstanding = redis.call('ZCARD', KEYS[1]) + redis.call('LLEN', KEYS[2]) + redis.call('ZCARD', KEYS[6])
for _, worker in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  outstanding = outstanding + redis.call('SCARD', KEYS[4] .. ':' .. worker)
end
if outstanding >= tonumber(ARGV[3]) then
  return -1
end
redis.call('ZADD', KEYS[5], now + ARGV[4], ARGV[1])
redis.call('ZADD', KEYS[6], now + ARGV[4], ARGV[2])
return 1
