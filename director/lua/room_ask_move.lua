-- Asks a room's owner to move it to another node.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- KEYS[3] {hall}:node:TARGET
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch
-- ARGV[6] TARGET, ARGV[7] its incarnation, ARGV[8] why
-- Answers {'asked', record}, {'outrun', record or ''} or {'unfit', ''}.
generation()
local room, target, incarnation = ARGV[2], ARGV[6], ARGV[7]

if not is_owned(KEYS[2], ARGV[3], ARGV[4], ARGV[5]) then
  return {'outrun', record_of(room, KEYS[2])}
end
if is_aimed(KEYS[2], target, incarnation) then
  return {'asked', record_of(room, KEYS[2])}
end
if redis.call('HEXISTS', KEYS[2], 'target') == 1 then
  return {'outrun', record_of(room, KEYS[2])}
end
if target == ARGV[3] or redis.call('HGET', KEYS[3], 'incarnation') ~= incarnation then
  return {'unfit', ''}
end

redis.call('HSET', KEYS[2], 'target', target, 'target_incarnation', incarnation, 'target_why', ARGV[8])
return {'asked', touch(room, KEYS[2])}
