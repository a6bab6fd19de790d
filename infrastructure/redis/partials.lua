-- Reads some slots of a shard's partial table, at the instant of the fence.
-- KEYS: fence, slots, then the hash of each slot that is asked for.
-- Returns the fence, all slots with bucket and seq of the last change, and the content of each slot asked for.
local hashes = {}
for number = 3, #KEYS do
  hashes[#hashes + 1] = redis.call('HGETALL', KEYS[number])
end
return {redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2]), hashes}
