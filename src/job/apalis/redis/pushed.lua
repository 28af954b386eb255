-- Records that a nudge was pushed: ends its reservation, and refuses further nudges of its job for a while.
-- KEYS: 1 waiting, 2 pushing
-- ARGV: 1 job, 2 id of the reservation, 3 milliseconds for which a job counts as waiting
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[2], ARGV[2])
-- Only if it is still there: a worker may have received the nudge already.
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[3], ARGV[1])
return 1
