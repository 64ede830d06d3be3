-- Gives a room's owner a new epoch above a floor, because the store knows a higher one. What it was asked to move is asked
-- of the former epoch, and so no longer.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] the epoch that it has
-- ARGV[6] floor: the counter is raised to it at least
-- Answers {'claimed', record} or {'outrun', record or ''}.
generation()
local room = ARGV[2]

if not is_owned(KEYS[2], ARGV[3], ARGV[4], ARGV[5]) then
  return {'outrun', record_of(room, KEYS[2])}
end

raise_epoch(ARGV[6])
redis.call('HSET', KEYS[2], 'epoch', next_epoch())
clear_target(KEYS[2])
return {'claimed', touch(room, KEYS[2])}
