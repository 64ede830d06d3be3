-- Reads all leases that stand and the last words of nodes whose lease lapsed, in one consistent read.
-- KEYS[1] {hall}:meta
-- ARGV[1] a new generation's name and the settle time
-- Answers {generation, number of the last change, Redis' time in ms, {lease, ms left, lease, ms left, ...},
--          {lapsed lease, ...}, ms left of the settle time}.
local life = generation()
local leases, lapsed = {}, {}
local known = redis.call('HGETALL', KNOWN)
for i = 1, #known, 2 do
  local key = node_key(known[i])
  local lease = redis.call('HGET', key, 'lease')
  if lease then
    leases[#leases + 1] = lease
    leases[#leases + 1] = digits(redis.call('PTTL', key))
  else
    lapsed[#lapsed + 1] = known[i + 1]
  end
end
return {life, digits(redis.call('HGET', META, 'number')), now_ms(), leases, lapsed, settles_in()}
