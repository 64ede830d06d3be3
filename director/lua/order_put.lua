-- Lets an order stand, in place of one with the same key.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:orders
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] KEY, ARGV[3] JSON of the order
-- ARGV[4] how many orders may stand
-- Answers 1 if it stands, 0 if there are too many others.
generation()
local standing = redis.call('HGET', KEYS[2], ARGV[2])
if standing == ARGV[3] then
  return 1
end
if not standing and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[4]) then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
notify_orders()
return 1
