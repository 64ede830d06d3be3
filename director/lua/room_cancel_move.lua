-- Takes a room's target away; what has been handed over stays so.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch
-- ARGV[6] the target, ARGV[7] its incarnation
-- Answers {'asked', record} or {'outrun', record or ''}.
generation()
local room = ARGV[2]

if not is_owned(KEYS[2], ARGV[3], ARGV[4], ARGV[5]) then
  return {'outrun', record_of(room, KEYS[2])}
end
if redis.call('HEXISTS', KEYS[2], 'target') == 0 then
  return {'asked', record_of(room, KEYS[2])}
end
if not is_aimed(KEYS[2], ARGV[6], ARGV[7]) then
  return {'outrun', record_of(room, KEYS[2])}
end
clear_target(KEYS[2])
return {'asked', touch(room, KEYS[2])}
