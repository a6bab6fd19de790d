-- One shard, one atomic step (invariant 4): states, marks of parked keys and the fence that they bring it to, only if
-- the fence is `expected`.
-- KEYS: fence, states, parked; for a refold that begins, also the states that are served.
-- ARGV: expected fence ('' = none), new fence, 'reset' or 'apply', n states, then n × (key, state),
--       then (key, mark) … where an empty mark takes the key's mark off
local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then
  return 0
end
-- Without a fence nobody knows what the states hold: what a lost fence has left behind is not folded onto.
if ARGV[3] == 'reset' or ARGV[1] == '' then
  redis.call('UNLINK', KEYS[2], KEYS[3])
end
-- Readers see by the field without a name that what they read is being refolded; the promotion takes it away.
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
