-- Writes states, parked events and the new fence of one shard in one atomic step (invariant 4), only if the fence is
-- the expected one.
-- KEYS: fence, states, parked; for a refold that starts, also the served states.
-- ARGV: expected fence ('' = none), new fence, 'reset' or 'apply', n states, then n × (key, state),
--       then (key, parked event) … where an empty one removes the entry of the key
local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then
  return 0
end
-- Without a fence the content of the states is unknown, so nothing is folded onto it.
if ARGV[3] == 'reset' or ARGV[1] == '' then
  redis.call('UNLINK', KEYS[2], KEYS[3])
end
-- The field without a name marks the served states as being refolded. The promotion removes it.
if KEYS[4] then
  redis.call('HSET', KEYS[4], '', '1')
end
local last = 4 + 2 * tonumber(ARGV[4])
-- In slices: Lua's unpack has a limit.
for first = 5, last, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, first, math.min(first + 999, last)))
end
for first = last + 1, #ARGV, 2 do
  if ARGV[first + 1] == '' then
    redis.call('HDEL', KEYS[3], ARGV[first])
  else
    redis.call('HSET', KEYS[3], ARGV[first], ARGV[first + 1])
  end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
