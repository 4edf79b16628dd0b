-- Says that a process still waits, and serves the line with what nobody told it: leases that ran out, members that
-- others freed, waiters whose process fell silent.
--
-- ARGV  4 process  5 members to collect, 0 for none  6... tokens of the process to look for
-- Reply {known, front, deadline, fence, state...}: known is 0 if the process had been given up or the line was lost
--       (then some of its requests may have to be entered again); front is the token of the first in line, "" if nobody
--       waits; deadline the milliseconds until the next lease ends, -1 if none does; fence the last one given out; and
--       for each token: 1 if it waits, {member, fence, ...} if that was granted and not yet renewed, 0 if it is in
--       neither state
-- Cost  one round trip; O(count + tokens)
local process, count = ARGV[4], tonumber(ARGV[5])

alive[process] = true
lapse()
if count > 0 then collect(count, false) end
serve()

local states, tokens = {}, { unpack(ARGV, 6) }
local places = #tokens > 0 and call('ZMSCORE', line, unpack(tokens)) -- who was just served is still there
local texts = #tokens > 0 and call('HMGET', requests, unpack(tokens))
for i = 1, #tokens do
  local token = tokens[i]
  local state = 0
  if places[i] and texts[i] and not left[token] then
    state = 1
  else
    local r = requestsOf[token] or unpackRequest(texts[i])
    if r and r[9] then
      state = {}
      fetchLocks(r[9])
      for j = 1, #r[9] do
        if r[4] == 1 or locks[r[9][j]] == token then
          state[#state + 1] = r[9][j]
          state[#state + 1] = int(r[10][j])
        end
      end
      if #state == 0 then
        state = 0
        forgotten[token] = true
      end
    end
  end
  states[i] = state
end

forgetStale(function(token) return call('ZSCORE', line, token) end)
flush()
local known = stay(process)
call('ZREMRANGEBYSCORE', processes, '-inf', int(ms - KEEP))
return { known, call('ZRANGE', line, 0, 0)[1] or '', nextDeadline(), fence, unpack(states) }
