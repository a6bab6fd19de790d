-- What was refolded beside a shard takes its place, in one atomic step, if both fences are as expected.
-- KEYS: fence, states, parked; the same three of the area beside.
-- ARGV: the fence that is served, the fence beside it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[4]) ~= ARGV[2] then
  return 0
end
-- The marker of the refold is in the old states, and goes with them.
redis.call('UNLINK', KEYS[2], KEYS[3])
for kind = 1, 3 do
  if redis.call('EXISTS', KEYS[kind + 3]) == 1 then
    redis.call('RENAME', KEYS[kind + 3], KEYS[kind])
  end
end
return 1
