-- Makes the target of a room its owner with the next epoch, at the word of the owner.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- KEYS[3] {hall}:node:TARGET
-- KEYS[4] {hall}:past:ROOM
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch
-- ARGV[6] TARGET, ARGV[7] its incarnation
-- Answers {'claimed', record}, {'outrun', record or ''} or {'unfit', ''}: the target has lost its lease, the room stays
-- and has no target any more.
generation()
local room, owner, target, incarnation = ARGV[2], ARGV[3], ARGV[6], ARGV[7]

if not is_owned(KEYS[2], owner, ARGV[4], ARGV[5]) or not is_aimed(KEYS[2], target, incarnation) then
  return {'outrun', record_of(room, KEYS[2])}
end
if redis.call('HGET', KEYS[3], 'incarnation') ~= incarnation then
  clear_target(KEYS[2])
  touch(room, KEYS[2])
  return {'unfit', ''}
end
local why = redis.call('HGET', KEYS[2], 'target_why')
return {'claimed', give(room, KEYS[2], KEYS[4], owner, target, incarnation, why)}
