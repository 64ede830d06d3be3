-- Makes a director steward, or lets it stay steward, if nobody else is.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:steward
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] the director's name
-- ARGV[3] milliseconds that it is steward for
-- Answers 1 if it is steward, else 0.
generation()
local steward = redis.call('GET', KEYS[2])
if steward and steward ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
