-- Extends a lease that this incarnation still holds and takes the members of its rooms.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:node:NODE
-- KEYS[3...] {hall}:room:ROOM of each room whose number of members changed
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] NODE, ARGV[3] its incarnation, ARGV[4] its state
-- ARGV[5] JSON of the lease
-- ARGV[6] milliseconds until it expires
-- ARGV[7, 9, ...] ROOM and ARGV[8, 10, ...] its members, for each of KEYS[3...]
-- Answers {'renewed', generation, Redis' time in ms}, {'lost', generation, ''} or {'forgotten', generation, ''}.
local life = generation()
local node, incarnation = ARGV[2], ARGV[3]

local holder = redis.call('HMGET', KEYS[2], 'incarnation', 'state')
if is_dead(node, incarnation) or (holder[1] and holder[1] ~= incarnation) then
  return {'lost', life, ''}
end
-- Without a lease the name may be another's that lapsed, too.
if not holder[1] then
  local last = last_holder_of(node)
  return {(last and last ~= incarnation) and 'lost' or 'forgotten', life, ''}
end

redis.call('HSET', KEYS[2], 'state', ARGV[4], 'lease', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
if holder[2] ~= ARGV[4] then
  notify('node', next_number(), '"lease":' .. ARGV[5])
end

local counted = {}
for i = 3, #KEYS do
  local room, members = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local record = redis.call('HMGET', KEYS[i], 'owner', 'incarnation', 'peak')
  if record[1] == node and record[2] == incarnation then
    redis.call('HSET', KEYS[i], 'members', members)
    if tonumber(record[3]) < tonumber(members) then
      redis.call('HSET', KEYS[i], 'peak', members)
    end
    counted[#counted + 1] = text(room) .. ':' .. digits(members)
  end
end
if #counted > 0 then
  redis.call('PUBLISH', CHANNEL, '{"type":"members","node":' .. text(node)
    .. ',"members":{' .. table.concat(counted, ',') .. '}}')
end
return {'renewed', life, now_ms()}
