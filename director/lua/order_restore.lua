-- Puts orders again that Redis forgot. Where orders were given or taken back since, it has not forgotten them, or an
-- operator has begun anew: then nothing is put.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:orders
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2, 4, ...] KEY and ARGV[3, 5, ...] JSON of each order
-- Answers 1 if they were put, else 0.
generation()
if #ARGV < 2 or redis.call('HEXISTS', META, 'ordered') == 1 then
  return 0
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
notify_orders()
return 1
