-- How requests are forgotten that nobody needs any more; put in front of watch and of lockwatch, which look at some each time.
local STALE = 2 -- so many
local LATE = 1000 -- ms after the end of a claim

-- forgetStale forgets what was granted to a process that died, and has passed on, and who is not in line any more.
local function forgetStale(waits)
  local some = call('HRANDFIELD', requests, STALE)
  for i = 1, #some do
    local token = some[i]
    local r = request(token)
    if not r or r[GRANTED] and r[GRANTED + 2] < ms - LATE or not r[GRANTED] and not waits(token, r) then
      forgotten[token] = true
    end
  end
end
