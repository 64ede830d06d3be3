-- Takes a node's name, also from a former incarnation, which is dead from then on.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:node:NODE
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] NODE, ARGV[3] its incarnation, ARGV[4] its state
-- ARGV[5] JSON of the lease
-- ARGV[6] milliseconds until it expires
-- Answers {'renewed', generation, Redis' time in ms} or {'lost', generation, ''}: the dead take no lease.
local life = generation()
local node, incarnation = ARGV[2], ARGV[3]

if is_dead(node, incarnation) then
  return {'lost', life, ''}
end
local former = last_holder_of(node)
if former and former ~= incarnation then
  bury(node, former, 'superseded')
end
redis.call('HSET', KEYS[2], 'incarnation', incarnation, 'state', ARGV[4], 'lease', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('HSET', KNOWN, node, ARGV[5])
notify('node', next_number(), '"lease":' .. ARGV[5])
return {'renewed', life, now_ms()}
