-- Counts one act of a client, or returns its wait: the generic cell rate algorithm.
-- The key holds the time at which the whole limit is free again, in microseconds of the clock of Redis.
-- KEYS[1]: the client
-- ARGV[1]: microseconds that one act takes up, ARGV[2]: the limit
-- Returns: 0 if the act was counted, else the wait in microseconds
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local act = tonumber(ARGV[1])
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + act
local wait = free - act * tonumber(ARGV[2]) - now
if wait > 0 then
  return math.ceil(wait)
end
-- The key expires when the whole limit is free, so no number of clients fills the memory.
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000))
return 0
