"""The scripts of `redis_store`. A record is a hash; beside it are ids by kind, expiries, what is due, and usage.

<base>:<kind>:<id>   t tenant, d document, b blob, e expires, u due, h holder
<base>:ids:<kind>    ids, in their order          <base>:due:<kind>   ids of work, by when it is due
<base>:expiries      kind/id, by when it expires  <base>:use          n/kind/tenant and b/kind/tenant, counted
"""

from typing import Final

_SHARED: Final = """
local base = KEYS[1]
local function key_of(kind, id) return base .. ':' .. kind .. ':' .. id end
local function count(kind, tenant, records, bytes)
  for what, change in pairs({n = records, b = bytes}) do
    local field = what .. '/' .. kind .. '/' .. tenant
    if redis.call('HINCRBY', base .. ':use', field, change) == 0 then redis.call('HDEL', base .. ':use', field) end
  end
end
local function set_due(kind, id, due)
  redis.call('HSET', key_of(kind, id), 'u', due)
  if due == 'inf' then redis.call('ZREM', base .. ':due:' .. kind, id)
  else redis.call('ZADD', base .. ':due:' .. kind, due, id) end
end
local function size_of(key) return redis.call('HSTRLEN', key, 'd') + redis.call('HSTRLEN', key, 'b') end
local function forget(kind, id)
  local key = key_of(kind, id)
  local tenant = redis.call('HGET', key, 't')
  if tenant then count(kind, tenant, -1, -size_of(key)) end
  redis.call('DEL', key)
  redis.call('ZREM', base .. ':ids:' .. kind, id)
  redis.call('ZREM', base .. ':due:' .. kind, id)
  redis.call('ZREM', base .. ':expiries', kind .. '/' .. id)
end
local function shown(told, kind, id, blobs)
  local found = redis.call('HMGET', key_of(kind, id), 't', 'd', 'e', 'u')
  if not found[1] then return end
  local blob = blobs and redis.call('HGET', key_of(kind, id), 'b') or ''
  for _, each in ipairs({id, found[1], found[2], blob, found[3], found[4]}) do told[#told + 1] = each end
end
"""

WRITE: Final = (
    _SHARED
    + """
local mode, kind, id, tenant, document, blob = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local expires, due, holder, before, kept = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local key = key_of(kind, id)
local former = redis.call('HGET', key, 'd')
if mode == 'add' and former then return 0 end
if mode == 'replace' then
  if former ~= before then return 0 end
  tenant, blob, holder = unpack(redis.call('HMGET', key, 't', 'b', 'h'))
end
if former then count(kind, redis.call('HGET', key, 't'), -1, -size_of(key)) end
redis.call('HSET', key, 't', tenant, 'd', document, 'b', blob, 'e', expires, 'h', holder)
count(kind, tenant, 1, #document + #blob)
set_due(kind, id, due)
redis.call('ZADD', base .. ':ids:' .. kind, 0, id)
redis.call('ZADD', base .. ':expiries', expires, kind .. '/' .. id)
for _, each in ipairs({key, base .. ':ids:' .. kind, base .. ':due:' .. kind, base .. ':expiries', base .. ':use'}) do
  redis.call('EXPIRE', each, kept)
end
return 1
"""
)

FORGET: Final = (
    _SHARED
    + """
local ids = redis.call('ZRANGEBYLEX', base .. ':ids:' .. ARGV[1], '[' .. ARGV[2], '(' .. ARGV[3], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do forget(ARGV[1], id) end
return #ids
"""
)

PURGE: Final = (
    _SHARED
    + """
local expired = redis.call('ZRANGEBYSCORE', base .. ':expiries', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, named in ipairs(expired) do
  local at = string.find(named, '/', 1, true)
  forget(string.sub(named, 1, at - 1), string.sub(named, at + 1))
end
return #expired
"""
)

READ: Final = (
    _SHARED
    + """
local kind, prefix, after, last, most, tenant = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local from = after > prefix and '(' .. after or '[' .. prefix
local ids = redis.call('ZRANGEBYLEX', base .. ':ids:' .. kind, from, '(' .. last, 'LIMIT', 0, most)
local told = {#ids == most and ids[#ids] or ''}
for _, id in ipairs(ids) do
  if tenant == '' or redis.call('HGET', key_of(kind, id), 't') == tenant then shown(told, kind, id, ARGV[7] == '1') end
end
return told
"""
)

TAKE: Final = (
    _SHARED
    + """
local kind, holder, now, until_, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local told = {}
local ids = redis.call('ZRANGEBYSCORE', base .. ':due:' .. kind, '-inf', now, 'LIMIT', 0, most)
table.sort(ids)
for _, id in ipairs(ids) do
  redis.call('HSET', key_of(kind, id), 'h', holder)
  set_due(kind, id, until_)
  shown(told, kind, id, false)
end
return told
"""
)

RENEW: Final = (
    _SHARED
    + """
local kind, holder, until_ = ARGV[1], ARGV[2], ARGV[3]
local held = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local mine = redis.call('HGET', key_of(kind, id), 'h') == holder
  if mine and redis.call('ZSCORE', base .. ':due:' .. kind, id) then
    set_due(kind, id, until_)
    held[#held + 1] = id
  end
end
return held
"""
)
