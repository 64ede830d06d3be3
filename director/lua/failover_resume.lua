-- Lifts the limit on verdicts for a while.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:verdicts
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] for how many milliseconds
-- Answers how many nodes have lapsed and are not declared dead.
generation()
redis.call('HSET', META, 'resumed', digits(now_ms() + tonumber(ARGV[2])))
redis.call('DEL', KEYS[2])
local waiting = 0
for _, node in ipairs(redis.call('HKEYS', KNOWN)) do
  if not holder_of(node) then
    waiting = waiting + 1
  end
end
return waiting
