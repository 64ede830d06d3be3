-- The verdict on an incarnation whose lease lapsed. Every death that was not proven goes through this script.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:verdicts
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] NODE, ARGV[3] its incarnation
-- ARGV[4] milliseconds over which verdicts are counted
-- ARGV[5] percent of the nodes that may be declared dead in that time, one at least
-- Answers {'departed', 0}, {'standing', 0}, {'settling', ms left} or {'held_back', ms until the next is allowed}.
generation()
local node, incarnation, window = ARGV[2], ARGV[3], tonumber(ARGV[4])

if is_dead(node, incarnation) then
  return {'departed', '0'}
end
local holder = holder_of(node)
if holder == incarnation then
  return {'standing', '0'}
end
local left = settles_in()
if left ~= '0' then
  return {'settling', left}
end
if holder then
  bury(node, incarnation, 'superseded')
  return {'departed', '0'}
end

local now = tonumber(now_ms())
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', digits(now - window))
local deaths = redis.call('ZCARD', KEYS[2])
local nodes = redis.call('HLEN', KNOWN) + deaths
local is_resumed = tonumber(redis.call('HGET', META, 'resumed') or '0') > now
if deaths >= math.max(1, math.floor(nodes * tonumber(ARGV[5]) / 100)) and not is_resumed then
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  return {'held_back', digits(math.max(1, math.min(oldest[2] + window - now, window)))}
end

redis.call('ZADD', KEYS[2], digits(now), node .. ':' .. incarnation)
redis.call('PEXPIRE', KEYS[2], digits(window))
bury(node, incarnation, 'lapsed')
return {'departed', '0'}
