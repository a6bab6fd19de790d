-- One shard, one atomic step (invariant 4): new states and the fence they bring it to, only if the fence is `expected`.
-- KEYS: fence, states.  ARGV: expected fence ('' = none), new fence, 'reset' or 'apply', then key, state, key, state …
local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then
  return 0
end
if ARGV[3] == 'reset' then
  redis.call('UNLINK', KEYS[2])
end
-- In slices: Lua's unpack has a limit.
for first = 4, #ARGV, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
