-- Counts one act of a client, or says how long it has to wait: the generic cell rate algorithm.
-- The key holds the moment, in microseconds of Redis' own clock, at which the client will have used nothing.
-- KEYS[1]: the client
-- ARGV[1]: microseconds that one act takes up, ARGV[2]: acts at once
-- Returns: 0, or the wait in microseconds; then nothing was counted
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local act = tonumber(ARGV[1])
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + act
local wait = free - act * tonumber(ARGV[2]) - now
if wait > 0 then
  return math.ceil(wait)
end
-- Gone once it says nothing any more, so no number of clients fills the memory.
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000))
return 0
