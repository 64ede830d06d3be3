-- Asks whoever runs an operation to stop.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:operation:ID
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] after how many silent milliseconds nobody runs it any more
-- Answers 1 if somebody runs it, else 0.
generation()
local f = redis.call('HMGET', KEYS[2], 'state', 'heard')
if f[1] ~= 'running' or now_ms() - f[2] > tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[2], 'cancel', '1')
return 1
