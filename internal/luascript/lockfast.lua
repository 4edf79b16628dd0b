-- The common case of lockexchange; put in front of it, behind lockone. It is the same step without what is rarely needed
-- (lines, units, names that were granted again), for many names in few calls. What it does not know it leaves, having
-- written nothing, to the rest of the script, which begins anew.
--
-- KEYS, ARGV and reply are those of lockexchange.lua where no name comes up twice.
local function fast()
  local call, unpack, ARGV = redis.call, unpack, ARGV
  local fenceKey, requests, _, _, _, lockPrefix, linePrefix, _, _, entriesPrefix = struct.unpack('ssssssssss', ARGV[1])
  local known = unlocks + renewals

  -- Who has them.
  local keys, at = {}, 3
  for i = 1, unlocks do
    keys[i] = lockPrefix .. ARGV[at]
    at = at + 2
  end
  for i = unlocks + 1, known + locks do
    if i > known then at = at + 2 end
    keys[i] = lockPrefix .. ARGV[at]
    at = at + (i > known and 1 or 3)
  end
  keys[known + locks + 1] = fenceKey
  local owners = call('MGET', unpack(keys))
  local fence = tonumber(owners[known + locks + 1] or nil)
  if locks > 0 and not fence then return end -- it is missing, or of another type

  -- Nobody must wait for a name that is given back or taken, and it must not count how often it was granted; what looks
  -- free must not be of another type. Whoever it was handed to, and so is in requests, has to be known by his record.
  local none, n = {}, 0 -- keys that must not exist
  local digits, mine = {}, {}
  at = 3
  for i = 1, known do
    local owner = owners[i]
    if owner == SHARED then return end
    if not owner then
      n = n + 1
      none[n] = keys[i]
    end
    if owner == ARGV[at + 1] then
      digits[i], mine[#mine + 1] = '1', keys[i]
      none[n + 1] = entriesPrefix .. ARGV[at]
      n = n + 1
      if i <= unlocks then
        n = n + 1
        none[n] = linePrefix .. ARGV[at]
      end
    else
      digits[i] = '0'
    end
    at = at + (i <= unlocks and 2 or 3)
  end
  local first = at -- of the locks
  for i = known + 1, known + locks do
    local owner = owners[i]
    if not owner then
      local name = ARGV[at + 2]
      none[n + 1], none[n + 2], none[n + 3] = keys[i], linePrefix .. name, entriesPrefix .. name
      n = n + 3
    elseif owner == SHARED then return
    end
    at = at + 3
  end
  if n > 0 and call('EXISTS', unpack(none)) > 0 then return end
  local confirmed
  if #mine > 0 and call('EXISTS', requests) == 1 then
    local tokens, j = {}, 0
    at = 3
    for i = 1, known do
      if digits[i] == '1' then
        tokens[j + 1], mine[j + 1] = ARGV[at + 1], ARGV[at]
        j = j + 1
      end
      at = at + (i <= unlocks and 2 or 3)
    end
    local records = call('HMGET', requests, unpack(tokens))
    for i = 1, j do
      if records[i] then -- a claim that has not been renewed, or one who waits elsewhere
        local ok, r = pcall(cmsgpack.unpack, records[i])
        if not ok or type(r) ~= 'table' or type(r[5]) ~= 'table' or #r[5] ~= 1 or r[5][1] ~= mine[i] then return end
        confirmed = confirmed or {}
        confirmed[#confirmed + 1] = tokens[i]
      end
    end
  end

  -- From here on it writes.
  if confirmed then call('HDEL', requests, unpack(confirmed)) end
  local gone = {}
  for i = 1, unlocks do
    if digits[i] == '1' then gone[#gone + 1] = keys[i] end
  end
  if #gone > 0 then call('DEL', unpack(gone)) end
  local unlocked, renewed = table.concat(digits, '', 1, unlocks), table.concat(digits, '', unlocks + 1, known)
  local reply = { unlocked, renewed }
  if locks > 0 then
    local clock, granted = call('TIME'), 0
    for i = known + 1, known + locks do
      if not owners[i] then granted = granted + 1 end
    end
    fence = math.max(fence, clock[1] * 1000000 + clock[2] - 1)
    if granted > 0 then call('SET', fenceKey, fence + granted) end
    at = first
    for i = known + 1, known + locks do
      if owners[i] then reply[i - known + 2] = 0
      else
        fence = fence + 1
        reply[i - known + 2] = fence
        if ARGV[at + 1] == '-1' then call('SET', keys[i], ARGV[at]) else call('PSETEX', keys[i], ARGV[at + 1], ARGV[at]) end
      end
      at = at + 3
    end
  end
  at = 3 + 2 * unlocks
  for i = unlocks + 1, known do
    if digits[i] == '1' then
      if ARGV[at + 2] == '-1' then call('PERSIST', keys[i]) else call('PEXPIRE', keys[i], ARGV[at + 2]) end
    end
    at = at + 3
  end
  return reply
end

if form == 'apart' then
  local reply = fast()
  if reply then return reply end
end
