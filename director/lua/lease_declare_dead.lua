-- Takes the lease from an incarnation that was proven dead. Every verdict goes through this script.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:node:NODE
-- KEYS[3] {hall}:nodes
-- ARGV[1] random name
-- ARGV[2] NODE, ARGV[3] its incarnation
-- ARGV[4] what proved it
-- Answers 1 if that incarnation held the lease, else 0.
generation()
if redis.call('HGET', KEYS[2], 'incarnation') ~= ARGV[3] then
  return 0
end
redis.call('DEL', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
notify('node_gone', next_number(), '"node":' .. text(ARGV[2]) .. ',"incarnation":' .. text(ARGV[3])
  .. ',"why":' .. text(ARGV[4]))
return 1
