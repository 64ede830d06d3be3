-- Tells of an operation as it is now.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:operations
-- KEYS[3] {hall}:operation:ID
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] ID, ARGV[3] JSON of the operation, ARGV[4] its state
-- ARGV[5] how many operations are kept
-- Answers 1 if somebody wants it cancelled, else 0.
generation()
local now = now_ms()
redis.call('HSET', KEYS[3], 'told', ARGV[3], 'state', ARGV[4], 'heard', now)
redis.call('PEXPIRE', KEYS[3], DAY_MS)
if ARGV[4] ~= 'running' then
  redis.call('HDEL', KEYS[3], 'cancel')
end
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('PEXPIRE', KEYS[2], DAY_MS)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', digits(now - DAY_MS))
for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - tonumber(ARGV[5]))) do
  redis.call('DEL', '{hall}:operation:' .. old)
  redis.call('ZREM', KEYS[2], old)
end
return redis.call('HEXISTS', KEYS[3], 'cancel')
