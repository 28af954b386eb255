-- Notes that a nudge was pushed: it counts by itself now, and its job need not be nudged again for a while.
-- KEYS: 1 waiting, 2 pushing
-- ARGV: 1 job, 2 name of the reservation, 3 milliseconds for which a job counts as waiting
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[2], ARGV[2])
-- Only if it is still there: a worker may have taken it meanwhile.
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[3], ARGV[1])
return 1
