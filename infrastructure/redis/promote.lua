-- Replaces a shard by its refolded copy in one atomic step, if both fences are as expected.
-- KEYS: fence, states, parked, with partials also slots and the hash of every slot; then the same of the staging area.
-- ARGV: the served fence, the fence of the staging area.
local kinds = #KEYS / 2
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[kinds + 1]) ~= ARGV[2] then
  return 0
end
-- The marker of the refold is in the old states, and is deleted with them.
for kind = 2, kinds do
  redis.call('UNLINK', KEYS[kind])
end
for kind = 1, kinds do
  if redis.call('EXISTS', KEYS[kinds + kind]) == 1 then
    redis.call('RENAME', KEYS[kinds + kind], KEYS[kind])
  end
end
return 1
