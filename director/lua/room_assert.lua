-- Writes a record again that Redis forgot, where none or one of a lower epoch stands; a move that was asked
-- for is forgotten.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:room:ROOM
-- KEYS[3] {hall}:rooms
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ROOM
-- ARGV[3] owner, ARGV[4] its incarnation, ARGV[5] its epoch: the counter is raised to it at least
-- ARGV[6] why, ARGV[7] members, ARGV[8] peak, ARGV[9] moves
-- Answers {'claimed', record} or {'outrun', record}.
generation()
local room, epoch = ARGV[2], ARGV[5]

raise_epoch(epoch)
if is_owned(KEYS[2], ARGV[3], ARGV[4], epoch) then
  return {'claimed', record_of(room, KEYS[2])}
end
local standing = redis.call('HGET', KEYS[2], 'epoch')
if standing and tonumber(standing) >= tonumber(epoch) then
  return {'outrun', record_of(room, KEYS[2])}
end

redis.call('HSET', KEYS[2], 'owner', ARGV[3], 'incarnation', ARGV[4], 'epoch', epoch, 'why', ARGV[6],
  'members', ARGV[7], 'peak', ARGV[8], 'moves', ARGV[9])
clear_target(KEYS[2])
redis.call('SADD', KEYS[3], room)
return {'claimed', touch(room, KEYS[2])}
