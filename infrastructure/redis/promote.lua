-- Replaces a shard by its refolded copy in one atomic step, if both fences are as expected.
-- KEYS: fence, states, parked; the same three of the staging area.
-- ARGV: the served fence, the fence of the staging area.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[4]) ~= ARGV[2] then
  return 0
end
-- The marker of the refold is in the old states, and is deleted with them.
redis.call('UNLINK', KEYS[2], KEYS[3])
for kind = 1, 3 do
  if redis.call('EXISTS', KEYS[kind + 3]) == 1 then
    redis.call('RENAME', KEYS[kind + 3], KEYS[kind])
  end
end
return 1
