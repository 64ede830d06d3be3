-- Reads all leases that stand, in one consistent read; forgets the names of those that lapsed.
-- KEYS[1] {hall}:meta
-- KEYS[2] {hall}:nodes
-- ARGV[1] random name
-- ARGV[2] {hall}:node: to put before a name
-- Answers {generation, number of the last change, Redis' time in ms, {lease, ms left, lease, ms left, ...}}.
local life = generation()
local leases = {}
for _, node in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local key = ARGV[2] .. node
  local lease = redis.call('HGET', key, 'lease')
  if lease then
    leases[#leases + 1] = lease
    leases[#leases + 1] = digits(redis.call('PTTL', key))
  else
    redis.call('SREM', KEYS[2], node)
  end
end
return {life, digits(redis.call('HGET', META, 'number')), now_ms(), leases}
