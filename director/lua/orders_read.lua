-- Reads all orders that stand.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:orders
-- ARGV[1] a new generation's name and the settle time
-- Answers {generation, number of the last change, 1 if orders were ever given or else 0,
--          {KEY, JSON, KEY, JSON, ...}}.
local life = generation()
return {life, digits(redis.call('HGET', META, 'number')), redis.call('HEXISTS', META, 'ordered'),
  redis.call('HGETALL', KEYS[2])}
