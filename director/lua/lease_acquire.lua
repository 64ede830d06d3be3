-- Takes a node's name, also from a former incarnation.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:node:NODE
-- KEYS[3] {hall}:nodes
-- ARGV[1] random name
-- ARGV[2] NODE, ARGV[3] its incarnation, ARGV[4] its state
-- ARGV[5] JSON of the lease
-- ARGV[6] milliseconds until it expires
-- Answers {generation, Redis' time in ms}.
local life = generation()
redis.call('HSET', KEYS[2], 'incarnation', ARGV[3], 'state', ARGV[4], 'lease', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('SADD', KEYS[3], ARGV[2])
notify('node', next_number(), '"lease":' .. ARGV[5])
return {life, now_ms()}
