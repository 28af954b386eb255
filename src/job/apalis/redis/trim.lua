-- Forgets what is done: apalis keeps it for ever.
-- KEYS: 1 done, 2 dead, 3 data, 4 what begins the name of every task's metadata
-- ARGV: 1 most of each
-- Returns: how many were forgotten
local forgotten = 0
for set = 1, 2 do
  for _, task in ipairs(redis.call('SPOP', KEYS[set], ARGV[1])) do
    redis.call('HDEL', KEYS[3], task)
    redis.call('DEL', KEYS[4] .. ':' .. task)
    forgotten = forgotten + 1
  end
end
return forgotten
