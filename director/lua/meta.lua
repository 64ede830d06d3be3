-- Names the life of the data and its last change.
-- KEYS[1] {hall}:meta
-- ARGV[1] a new generation's name and the settle time
-- Answers {generation, number}.
local life = generation()
return {life, digits(redis.call('HGET', META, 'number'))}
