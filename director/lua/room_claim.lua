-- Makes a node the owner of a room that has none, or a dead one, with the next epoch.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- KEYS[3] {hall}:rooms
-- KEYS[4] {hall}:node:NODE of the new owner
-- KEYS[5] {hall}:past:ROOM
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] NODE, ARGV[4] its incarnation
-- ARGV[5] why it was placed there
-- ARGV[6] OWNER that the caller believes in ('' = nobody), ARGV[7] its incarnation, ARGV[8] the epoch
-- Answers {'claimed', record}, {'outrun', record or ''}, {'unfit', ''} or {'settling', ms left}.
generation()
local room, node, incarnation, why, owner = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

if not is_owned(KEYS[2], owner, ARGV[7], ARGV[8]) then
  return {'outrun', record_of(room, KEYS[2])}
end
if owner ~= '' and not is_dead(owner, ARGV[7]) then
  return {'outrun', record_of(room, KEYS[2])}
end
local left = settles_in()
if left ~= '0' then
  return {'settling', left}
end
if redis.call('HGET', KEYS[4], 'incarnation') ~= incarnation then
  return {'unfit', ''}
end

redis.call('SADD', KEYS[3], room)
return {'claimed', give(room, KEYS[2], KEYS[5], owner, node, incarnation, why)}
