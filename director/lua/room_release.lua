-- Removes a room's record if it is exactly this one: a late clean-up never touches a newer owner.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- KEYS[3] {hall}:rooms
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch
-- Answers 1 if it was removed, else 0.
generation()
if not is_owned(KEYS[2], ARGV[3], ARGV[4], ARGV[5]) then
  return 0
end
redis.call('DEL', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
notify('room_gone', next_number(), '"room":' .. text(ARGV[2]))
return 1
