-- What every script of the hall shares; put before each script's own text.
--
-- The hall's keys (all carry the hash tag {hall}, so that they share one slot; scripts may therefore make up the names
-- of those that they find out about themselves):
--   {hall}:meta       hash    generation (random name of this life of the data on one run of a server), server (that
--                             run's id), number (of the last change), epoch (the fleet-wide counter), heard (when a
--                             script last ran), settled (when the settle time ends), resumed (until when verdicts are
--                             not limited), ordered (number of the last change of orders); instants in ms of Redis'
--                             time
--   {hall}:known      hash    NAME to the JSON of the NodeLease with which its holder took it; of nodes not declared dead
--   {hall}:node:NAME  hash    incarnation, state, lease (JSON of NodeLease); expires with the lease
--   {hall}:dead:NAME:INCARNATION  string  why it is dead; for a day
--   {hall}:verdicts   zset    incarnations declared dead because their lease lapsed, by when
--   {hall}:steward    string  which director is steward; expires
--   {hall}:rooms      set     rooms with a record
--   {hall}:room:ID    hash    owner, incarnation, epoch, why, version, members, peak, moves; while it is asked to move
--                             also target, target_incarnation, target_why, and is_warm once it is; never expires
--   {hall}:past:ID    list    JSON of the latest PastMoves, the newest first, 20 at most; for a day after the last
--   {hall}:orders     hash    KEY to the JSON of the Order that stands
--   {hall}:operations zset    ids of operations, by when they were last told of; 200 at most
--   {hall}:operation:ID  hash  told (JSON of Operation), state, heard (when it was told), and cancel if somebody wants
--                             it cancelled; for a day
--   {hall}:notices    channel of changes, JSON as in director/contract/ownership.py
--
-- Every script has KEYS[1] = {hall}:meta and ARGV[1] = "NAME MS": a random name for a generation that begins now, and
-- the settle time. A generation begins where there is none, and where the server is not the run that wrote the data
-- last: it was restarted, or it is a replica that was promoted, and either may have lost the last writes.
-- JSON is put together from pieces: cjson writes large numbers as 1e+15 and an empty table as {}.

local META = KEYS[1]
local CHANNEL = '{hall}:notices'
local KNOWN = '{hall}:known'
local DAY_MS = 86400000
local HEARD_EVERY_MS = 500
local MAX_PAST = 20

local function digits(number)
  return string.format('%.0f', tonumber(number))
end

local function text(value)
  return cjson.encode(value)
end

local function now_ms()
  local time = redis.call('TIME')
  return digits(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end

-- The id of this run of the server; '' where it may not be asked.
local function server_run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end

local NEW_NAME, SETTLE = string.match(ARGV[1], '^(%S+) (%d+)$')
local SETTLE_MS = tonumber(SETTLE)
local LIFE

-- Names the generation, and begins another or a settle time where that is due. Each script calls it first.
local function generation()
  if LIFE then
    return LIFE
  end
  local now, server = now_ms(), server_run()
  local f = redis.call('HMGET', META, 'generation', 'server', 'heard')
  LIFE = f[1]
  if not LIFE or (server ~= '' and f[2] ~= server) then
    LIFE = NEW_NAME
    redis.call('HSET', META, 'generation', LIFE, 'server', server, 'heard', now, 'settled', digits(now + SETTLE_MS))
    redis.call('HSETNX', META, 'number', '0')
    redis.call('HSETNX', META, 'epoch', '0')
    return LIFE
  end
  local silent = tonumber(now) - tonumber(f[3])
  -- Nobody at all was heard: not the nodes were away, but Redis was.
  if SETTLE_MS > 0 and silent > SETTLE_MS then
    redis.call('HSET', META, 'settled', digits(now + SETTLE_MS))
  end
  if silent < 0 or silent >= math.min(HEARD_EVERY_MS, SETTLE_MS / 4) then
    redis.call('HSET', META, 'heard', now)
  end
  return LIFE
end

-- What is left of the settle time in ms. A clock that was set back must not stretch it.
local function settles_in()
  generation()
  local left = tonumber(redis.call('HGET', META, 'settled')) - tonumber(now_ms())
  return digits(math.max(0, math.min(left, SETTLE_MS)))
end

local function next_number()
  return digits(redis.call('HINCRBY', META, 'number', 1))
end

local function notify(kind, number, rest)
  redis.call('PUBLISH', CHANNEL, '{"type":"' .. kind .. '","generation":' .. text(generation())
    .. ',"number":' .. number .. (rest and ',' .. rest or '') .. '}')
end

-- Tells that the orders have changed, and writes down that there have been some.
local function notify_orders()
  local number = next_number()
  redis.call('HSET', META, 'ordered', number)
  notify('orders', number)
end

-- The JSON of a room's record, '' if it has none.
local function record_of(room, key)
  local f = redis.call('HMGET', key, 'owner', 'incarnation', 'epoch', 'why', 'version', 'members', 'peak', 'moves',
    'target', 'target_incarnation', 'target_why', 'is_warm')
  if not f[1] then
    return ''
  end
  local aim = ''
  if f[9] then
    aim = ',"target":' .. text(f[9]) .. ',"target_incarnation":' .. text(f[10]) .. ',"target_why":' .. text(f[11])
      .. ',"is_warm":' .. tostring(f[12] == '1')
  end
  return '{"room":' .. text(room) .. ',"owner":' .. text(f[1]) .. ',"incarnation":' .. text(f[2])
    .. ',"epoch":' .. digits(f[3]) .. ',"why":' .. text(f[4]) .. ',"version":' .. digits(f[5])
    .. ',"members":' .. digits(f[6]) .. ',"peak":' .. digits(f[7]) .. ',"moves":' .. digits(f[8]) .. aim .. '}'
end

local function is_owned(key, owner, incarnation, epoch)
  local f = redis.call('HMGET', key, 'owner', 'incarnation', 'epoch')
  if not f[1] then
    return owner == ''
  end
  return f[1] == owner and f[2] == incarnation and digits(f[3]) == epoch
end

-- Whether a room is asked to move to that incarnation of a node.
local function is_aimed(key, target, incarnation)
  local f = redis.call('HMGET', key, 'target', 'target_incarnation')
  return f[1] == target and f[2] == incarnation
end

local function clear_target(key)
  redis.call('HDEL', key, 'target', 'target_incarnation', 'target_why', 'is_warm')
end

local function raise_epoch(floor)
  if tonumber(redis.call('HGET', META, 'epoch')) < tonumber(floor) then
    redis.call('HSET', META, 'epoch', floor)
  end
end

local function next_epoch()
  return digits(redis.call('HINCRBY', META, 'epoch', 1))
end

local function node_key(node)
  return '{hall}:node:' .. node
end

-- The incarnation that holds the lease of a node, false if none does.
local function holder_of(node)
  return redis.call('HGET', node_key(node), 'incarnation')
end

-- The incarnation that held it last and is not declared dead, nil if there is none.
local function last_holder_of(node)
  local lease = redis.call('HGET', KNOWN, node)
  return lease and cjson.decode(lease).incarnation or nil
end

local function tombstone_of(node, incarnation)
  return '{hall}:dead:' .. node .. ':' .. incarnation
end

local function is_dead(node, incarnation)
  return redis.call('EXISTS', tombstone_of(node, incarnation)) == 1
end

-- Writes down that an incarnation is dead and takes all that it holds of the name; told once, if anybody knew it.
local function bury(node, incarnation, why)
  redis.call('SET', tombstone_of(node, incarnation), why, 'PX', DAY_MS)
  if holder_of(node) == incarnation then
    redis.call('DEL', node_key(node))
  end
  if last_holder_of(node) == incarnation then
    redis.call('HDEL', KNOWN, node)
    notify('node_gone', next_number(), '"node":' .. text(node) .. ',"incarnation":' .. text(incarnation)
      .. ',"why":' .. text(why))
  end
end

-- Makes a node the owner of a room with the next epoch, writes down that it changed hands and tells; answers the
-- record. `source` is the owner so far, '' if there was none.
local function give(room, key, past, source, node, incarnation, why)
  local number, epoch = next_number(), next_epoch()
  redis.call('HSET', key, 'owner', node, 'incarnation', incarnation, 'epoch', epoch, 'why', why, 'version', number,
    'members', '0')
  if source == '' then
    redis.call('HSET', key, 'peak', '0', 'moves', '0')
  else
    redis.call('HINCRBY', key, 'moves', 1)
  end
  clear_target(key)
  redis.call('LPUSH', past, '{"at_ms":' .. now_ms() .. ',"source":' .. (source == '' and 'null' or text(source))
    .. ',"target":' .. text(node) .. ',"epoch":' .. epoch .. ',"why":' .. text(why) .. '}')
  redis.call('LTRIM', past, 0, MAX_PAST - 1)
  redis.call('PEXPIRE', past, DAY_MS)
  local record = record_of(room, key)
  notify('room', number, '"replaced":' .. tostring(source ~= '') .. ',"record":' .. record)
  return record
end

-- Writes a room's record that is changed but for its owner anew, and tells; answers the record.
local function touch(room, key)
  local number = next_number()
  redis.call('HSET', key, 'version', number)
  local record = record_of(room, key)
  notify('room', number, '"record":' .. record)
  return record
end
