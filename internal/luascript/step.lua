-- What every step knows: the moment, and how numbers and texts are written; put in front of lines and of tasks.
local call = redis.call

local clock = call('TIME')
local us = clock[1] * 1000000 + clock[2]
local ms = math.floor(us / 1000)

local function int(n) return string.format('%.0f', n) end
local function net(s) return #s .. ':' .. s end
