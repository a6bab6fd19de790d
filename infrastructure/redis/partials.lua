-- Reads what changed in a shard's partial table since a seq, or the whole table, at the instant of the fence.
-- KEYS: fence, slots, changes, parked; for the whole table also the hash of every slot.
-- ARGV: the seq since which to read; not used for the whole table.
-- Returns the fence, the parked events and the changes, oldest first; the fence alone if they do not lead on from that
-- seq; for the whole table the fence, the parked events, the slots with their buckets, and the content of every slot.
local fence, found = redis.call('GET', KEYS[1]), {}
if #KEYS > 4 then
  for number = 5, #KEYS do
    found[number - 4] = redis.call('HGETALL', KEYS[number])
  end
  return {fence, redis.call('HVALS', KEYS[4]), redis.call('HGETALL', KEYS[2]), found}
end
local since = tonumber(ARGV[1])
local complete = tonumber(string.match(redis.call('HGET', KEYS[2], '') or '', '^%d+'))
if not complete or complete > since then
  return {fence}
end
-- From the end, so that a reader that is up to date reads few of them.
local number = redis.call('LLEN', KEYS[3]) - 1
while number >= 0 do
  local change = redis.call('LINDEX', KEYS[3], number)
  local upto, from = string.match(change, '^(%d+) (%d+)\n')
  if upto and tonumber(upto) <= since then
    break
  end
  -- It has events that the reader has too: the server was restored to an older dump since.
  if not from or tonumber(from) < since then
    return {fence}
  end
  table.insert(found, 1, change)
  number = number - 1
end
return {fence, redis.call('HVALS', KEYS[4]), found}
