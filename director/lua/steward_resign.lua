-- Ends a director's stewardship, if it is steward.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:steward
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] the director's name
-- Answers 1 if it was steward, else 0.
generation()
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[2])
return 1
