-- Makes the former owner of a room its owner again with the next epoch: the one that it was handed over to did not open
-- it in time. Whatever that one does meanwhile, the store judges.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- KEYS[3] {hall}:node:NODE of the former owner
-- KEYS[4] {hall}:past:ROOM
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch
-- ARGV[6] NODE, ARGV[7] its incarnation
-- Answers {'claimed', record} or {'outrun', record or ''}.
generation()
local room, node, incarnation = ARGV[2], ARGV[6], ARGV[7]

local is_fit = redis.call('HGET', KEYS[3], 'incarnation') == incarnation
if not is_fit or not is_owned(KEYS[2], ARGV[3], ARGV[4], ARGV[5]) then
  return {'outrun', record_of(room, KEYS[2])}
end
return {'claimed', give(room, KEYS[2], KEYS[4], ARGV[3], node, incarnation, 'taken_back')}
