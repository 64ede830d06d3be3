-- Takes an order back.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:orders
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] KEY
-- Answers 1 if it stood, else 0.
generation()
if redis.call('HDEL', KEYS[2], ARGV[2]) == 0 then
  return 0
end
notify_orders()
return 1
