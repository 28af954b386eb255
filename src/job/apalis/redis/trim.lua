-- Removes done tasks, which apalis stores for ever.
-- KEYS: 1 done, 2 dead, 3 data, 4 prefix of the metadata of a task
-- ARGV: 1 most tasks of each set
-- Returns: the number of removed tasks
local removed = 0
for set = 1, 2 do
  for _, task in ipairs(redis.call('SPOP', KEYS[set], ARGV[1])) do
    redis.call('HDEL', KEYS[3], task)
    redis.call('DEL', KEYS[4] .. ':' .. task)
    removed = removed + 1
  end
end
return removed
