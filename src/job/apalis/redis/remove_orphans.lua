-- Deletes those of the given keys that belong to no worker and no task. A killed process leaves such keys behind.
-- KEYS: 1 workers, 2 data, then the keys to check
-- ARGV: 1 prefix of the metadata of a worker, 2 prefix of an inflight set, 3 prefix of the metadata of a task
-- Returns: the number of deleted keys
local deleted = 0
local function after(key, prefix)
  if string.sub(key, 1, #prefix + 1) == prefix .. ':' then
    return string.sub(key, #prefix + 2)
  end
end
for i = 3, #KEYS do
  local key = KEYS[i]
  local worker = after(key, ARGV[1]) or after(key, ARGV[2])
  local task = after(key, ARGV[3])
  local known = (worker and redis.call('ZSCORE', KEYS[1], worker)) or (task and redis.call('HEXISTS', KEYS[2], task) == 1)
  if (worker or task) and not known then
    if after(key, ARGV[2]) then
      for _, lost in ipairs(redis.call('SMEMBERS', key)) do
        redis.call('HDEL', KEYS[2], lost)
        redis.call('DEL', ARGV[3] .. ':' .. lost)
      end
    end
    deleted = deleted + redis.call('DEL', key)
  end
end
return deleted
