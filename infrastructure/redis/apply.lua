-- Writes states, parked events, partials and the new fence of one shard in one atomic step (invariant 4), only if the
-- fence is the expected one.
-- KEYS: fence, states, parked; with partials also slots, changes and the hash of each slot that is written or may be
--       deleted; last, for a refold that starts, the served states.
-- ARGV: expected fence ('' = none), new fence, 'apply', 'reset' or 'refold' (a reset that marks the served states),
--       n states; with partials (more than 4 KEYS) also n parked events, n changed slots, seq of the new fence;
--       then n × (key, state), n × (key, parked event), where an empty one removes the entry of the key,
--       then for each changed slot: index of its hash in KEYS, slot, bucket, n fields, n × (field, amounts)
local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then
  return 0
end
-- Without a fence the content of the shard is unknown, so nothing is folded onto it.
local empties = ARGV[3] ~= 'apply' or ARGV[1] == ''
local from, upto = 5, #ARGV
local writes = {}
local MAX_CHANGES, MAX_CHANGE_BYTES, MAX_BYTES = 1000, 65536, 1048576

if #KEYS > 4 then
  local MAX_AMOUNT = 9007199254740991
  from, upto = 8, 7 + 2 * (tonumber(ARGV[4]) + tonumber(ARGV[5]))
  local function numbers(text)
    local found = {}
    for number in string.gmatch(text, '%S+') do
      found[#found + 1] = tonumber(number)
    end
    return found
  end
  -- Invariant 4: every sum is computed and checked before the first write, since a script that fails undoes nothing.
  local at = upto + 1
  for _ = 1, tonumber(ARGV[6]) do
    local key, slot = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
    local bucket, fields = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local before = not empties and redis.call('HGET', KEYS[4], slot)
    local kept = before and tonumber(before)
    if before and not kept then
      return redis.error_reply('REJECTED slot ' .. slot .. ' has no bucket')
    end
    if not kept or bucket >= kept then
      local write = {key = key, slot = slot, bucket = ARGV[at + 2], replaces = kept ~= bucket, set = {}, gone = {}}
      for first = at + 4, at + 2 + 2 * fields, 2 do
        local field, sums, zero = ARGV[first], numbers(ARGV[first + 1]), true
        local old = not write.replaces and redis.call('HGET', key, field)
        -- Before the addition too: a larger amount is not exact, and a sum of the other sign would hide that.
        for number = 1, #sums do
          if sums[number] > MAX_AMOUNT or sums[number] < -MAX_AMOUNT then
            return redis.error_reply('REJECTED an amount of ' .. field .. ' in slot ' .. slot .. ' is too large')
          end
        end
        if old then
          local added = numbers(old)
          if #added ~= #sums then
            return redis.error_reply('REJECTED slot ' .. slot .. ' has other sums in ' .. field)
          end
          for number = 1, #sums do
            sums[number] = sums[number] + added[number]
          end
        end
        for number = 1, #sums do
          if sums[number] > MAX_AMOUNT or sums[number] < -MAX_AMOUNT then
            return redis.error_reply('REJECTED a sum of ' .. field .. ' in slot ' .. slot .. ' is too large')
          end
          zero = zero and sums[number] == 0
          sums[number] = string.format('%.0f', sums[number])
        end
        if not zero then
          write.set[#write.set + 1] = field
          write.set[#write.set + 1] = table.concat(sums, ' ')
        elseif old then
          write.gone[#write.gone + 1] = field
        end
      end
      writes[#writes + 1] = write
    end
    at = at + 4 + 2 * fields
  end
end

if empties then
  redis.call('UNLINK', KEYS[2], KEYS[3])
  for number = 4, ARGV[3] == 'refold' and #KEYS - 1 or #KEYS do
    redis.call('UNLINK', KEYS[number])
  end
end
-- The field without a name marks the served states as being refolded. The promotion removes it.
if ARGV[3] == 'refold' then
  redis.call('HSET', KEYS[#KEYS], '', '1')
end
local last = from - 1 + 2 * tonumber(ARGV[4])
-- In slices: Lua's unpack has a limit.
for first = from, last, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, first, math.min(first + 999, last)))
end
for first = last + 1, upto, 2 do
  if ARGV[first + 1] == '' then
    redis.call('HDEL', KEYS[3], ARGV[first])
  else
    redis.call('HSET', KEYS[3], ARGV[first], ARGV[first + 1])
  end
end
for _, write in ipairs(writes) do
  if write.replaces then
    redis.call('UNLINK', write.key)
  end
  for first = 1, #write.set, 1000 do
    redis.call('HSET', write.key, unpack(write.set, first, math.min(first + 999, #write.set)))
  end
  for first = 1, #write.gone, 1000 do
    redis.call('HDEL', write.key, unpack(write.gone, first, math.min(first + 999, #write.gone)))
  end
  redis.call('HSET', KEYS[4], write.slot, write.bucket)
end
if #KEYS > 4 then
  -- The latest changes, so that a reader need not read whole slots. Each begins with the seq that it leads to and the
  -- one that it starts from: a server that was restored to an older dump is folded on in other batches, and a reader
  -- must not add events that it has. The field without a name of the slots has the seq from which on the changes are
  -- complete, and their bytes: a reader that is further behind reads the whole table.
  local since = string.match(ARGV[1], '^%S+ %S+ (%d+)') or ''
  local change = ARGV[7] .. ' ' .. since .. '\n' .. table.concat(ARGV, '\n', upto + 1)
  local complete, bytes = string.match(redis.call('HGET', KEYS[4], '') or '', '^(%d+) (%d+)$')
  if empties or not bytes or #change > MAX_CHANGE_BYTES then
    redis.call('UNLINK', KEYS[5])
    complete, bytes = ARGV[7], 0
  else
    local length = redis.call('RPUSH', KEYS[5], change)
    bytes = length == 1 and #change or bytes + #change
    while length > 1 and (length > MAX_CHANGES or bytes > MAX_BYTES) do
      local oldest = redis.call('LPOP', KEYS[5])
      complete, bytes, length = string.match(oldest, '^%d+') or ARGV[7], bytes - #oldest, length - 1
    end
  end
  redis.call('HSET', KEYS[4], '', complete .. ' ' .. string.format('%.0f', bytes))
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
