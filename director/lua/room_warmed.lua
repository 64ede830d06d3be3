-- Writes down that the node that a room is to move to is ready for it.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch
-- ARGV[6] the target, ARGV[7] its incarnation
-- Answers {'asked', record} or {'outrun', record or ''}.
generation()
local room = ARGV[2]

if not is_owned(KEYS[2], ARGV[3], ARGV[4], ARGV[5]) or not is_aimed(KEYS[2], ARGV[6], ARGV[7]) then
  return {'outrun', record_of(room, KEYS[2])}
end
if redis.call('HSET', KEYS[2], 'is_warm', '1') == 0 then
  return {'asked', record_of(room, KEYS[2])}
end
return {'asked', touch(room, KEYS[2])}
