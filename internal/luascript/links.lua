-- How a pool remembers a member: "prev||next||expiry"; put in front of the scripts that read it.
local ALLOCATED = '#ALLOCATED'

-- parse gives prev, next and expiry; garbage is half allocated, so that it is mended when it is met. No name starts
-- with a bar: where there are three in a row, the first belongs to the name in front.
local function parse(value)
  local prev, next, expiry = string.match(value, '^(.*)||(.*)||([^|]*)$')
  if not prev then return ALLOCATED, '', '-1' end
  return prev, next, expiry
end
