-- What every script of the hall shares; put before each script's own text.
--
-- The hall's keys (all carry the hash tag {hall}, so that they share one slot):
--   {hall}:meta       hash    generation (random name of this life of the data), number (of the last change),
--                             epoch (the fleet-wide counter)
--   {hall}:nodes      set     names of nodes that may hold a lease
--   {hall}:node:NAME  hash    incarnation, state, lease (JSON of NodeLease); expires with the lease
--   {hall}:rooms      set     rooms with a record
--   {hall}:room:ID    hash    owner, incarnation, epoch, why, version, members, peak, moves; never expires
--   {hall}:notices    channel of changes, JSON as in director/contract/ownership.py
--
-- Every script has KEYS[1] = {hall}:meta and ARGV[1] = a random name, the generation if there is none yet.
-- JSON is put together from pieces: cjson writes large numbers as 1e+15 and an empty table as {}.

local META = KEYS[1]
local CHANNEL = '{hall}:notices'

local function digits(number)
  return string.format('%.0f', tonumber(number))
end

local function text(value)
  return cjson.encode(value)
end

local function generation()
  local known = redis.call('HGET', META, 'generation')
  if not known then
    known = ARGV[1]
    redis.call('HSET', META, 'generation', known, 'number', '0', 'epoch', '0')
  end
  return known
end

local function next_number()
  return digits(redis.call('HINCRBY', META, 'number', 1))
end

local function now_ms()
  local time = redis.call('TIME')
  return digits(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end

local function notify(kind, number, rest)
  redis.call('PUBLISH', CHANNEL, '{"type":"' .. kind .. '","generation":' .. text(generation())
    .. ',"number":' .. number .. ',' .. rest .. '}')
end

-- The JSON of a room's record, '' if it has none.
local function record_of(room, key)
  local f = redis.call('HMGET', key, 'owner', 'incarnation', 'epoch', 'why', 'version', 'members', 'peak', 'moves')
  if not f[1] then
    return ''
  end
  return '{"room":' .. text(room) .. ',"owner":' .. text(f[1]) .. ',"incarnation":' .. text(f[2])
    .. ',"epoch":' .. digits(f[3]) .. ',"why":' .. text(f[4]) .. ',"version":' .. digits(f[5])
    .. ',"members":' .. digits(f[6]) .. ',"peak":' .. digits(f[7]) .. ',"moves":' .. digits(f[8]) .. '}'
end

local function is_owned(key, owner, incarnation, epoch)
  local f = redis.call('HMGET', key, 'owner', 'incarnation', 'epoch')
  if not f[1] then
    return owner == ''
  end
  return f[1] == owner and f[2] == incarnation and digits(f[3]) == epoch
end

local function raise_epoch(floor)
  if tonumber(redis.call('HGET', META, 'epoch')) < tonumber(floor) then
    redis.call('HSET', META, 'epoch', floor)
  end
end

local function next_epoch()
  return digits(redis.call('HINCRBY', META, 'epoch', 1))
end
