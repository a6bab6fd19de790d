-- Reads what changed in a shard's partial table since a seq, or the whole table, at the instant of the fence.
-- KEYS: fence, slots, changes; for the whole table also the hash of every slot.
-- ARGV: the seq since which to read; not used for the whole table.
-- Returns the fence, the seq from which on the changes are complete, and the changes, oldest first;
-- for the whole table the fence, the slots with their buckets, and the content of every slot.
local fence, found = redis.call('GET', KEYS[1]), {}
if #KEYS > 3 then
  for number = 4, #KEYS do
    found[number - 3] = redis.call('HGETALL', KEYS[number])
  end
  return {fence, redis.call('HGETALL', KEYS[2]), found}
end
local since = tonumber(ARGV[1])
-- From the end, so that a reader that is up to date reads few of them.
local number = redis.call('LLEN', KEYS[3]) - 1
while number >= 0 do
  local change = redis.call('LINDEX', KEYS[3], number)
  if tonumber(string.match(change, '^%d+')) <= since then
    break
  end
  table.insert(found, 1, change)
  number = number - 1
end
return {fence, redis.call('HGET', KEYS[2], ''), found}
