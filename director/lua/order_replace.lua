-- Lets an order stand in place of another, if that stands as it is known: at no time does neither stand.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:orders
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] KEY and ARGV[3] JSON of the former, ARGV[4] KEY and ARGV[5] JSON of the new one
-- Answers 1 if it did, else 0.
generation()
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
notify_orders()
return 1
