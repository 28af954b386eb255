-- Lets a nudge be pushed if its job does not wait already and there is room, in one step for all processes.
-- KEYS: 1 scheduled, 2 active, 3 workers, 4 what begins the name of every worker's inflight set, 5 waiting, 6 pushing
-- ARGV: 1 job, 2 name of this reservation, 3 most outstanding, 4 milliseconds that a push may take
-- Returns: 1 push it, 0 it waits already, -1 full
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Waiting jobs and reservations by the moment at which they no longer count.
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
