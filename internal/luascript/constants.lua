-- What is written into keys in several places; put in front of the scripts that need it, before all else.
local SHARED = '#SHARED' -- the lock of a name of which several have units
local FOREVER = 1e15 -- what a lease without end adds to the time of its grant, in the indexes of leases
local LIFE = 5000 -- ms for which a process that waits counts as alive after its last word
local KEEP = 60000 -- ms for which a line is kept after the last word of anybody in it
local CLASS = 2 ^ 40 -- the places of a priority in a line: the arrival's number is moved into its range
