"""The shared store in Redis or Valkey: one script a gateway and exchange, so that merging is one atomic step.

Keys carry the fleet as a hash tag, so that they lie together in a cluster. Notes of gateways that are not heard of are
dropped after `LOST_AFTER_MS`, all keys a week after the last exchange. There is one counter a tenant, so as many as
TenantQuotas were used within that time. What was spent has a version a row, by which readers ask for news;
the oldest are dropped as new ones come.
"""

from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tierline.scheduling.admission.spending import HOURS
from tierline_gateway.cancellation import heeding
from tierline_gateway.shared.store import Exchange, Note, Shared, Spent, StoreUnavailable

DEADLINE_S: Final = 0.25
CONNECT_DEADLINE_S: Final = 1.0
"""No request waits for the store, so deadlines only say how old the view of the others may become."""
LOST_AFTER_MS: Final = 2000
REMEMBERED_MS: Final = 3_600_000
"""So long the number of a silent gateway's last report is kept, against applying it twice."""
KEPT_SECONDS: Final = 7 * 24 * 3600

_MERGE: Final = """
local counters, notes, seen, numbers, born_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local spent, booked, version_key = KEYS[6], KEYS[7], KEYS[8]
local gateway, number, born = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', born_key, time[1] .. '.' .. time[2], 'NX')
local lives = redis.call('GET', born_key)
local asked = {}
if born == '' or born == lives then
  if number > tonumber(redis.call('HGET', numbers, gateway) or '0') then
    for _, change in ipairs(cjson.decode(ARGV[4])) do
      local counter = tonumber(redis.call('HGET', counters, change[1]) or '0')
      redis.call('HSET', counters, change[1], string.format('%.17g', math.max(counter + change[2], change[3])))
    end
    redis.call('HSET', numbers, gateway, number)
  end
  redis.call('HSET', notes, gateway, ARGV[5])
  redis.call('ZADD', seen, now, gateway)
  for _, row in ipairs(cjson.decode(ARGV[9])) do
    redis.call('HSET', spent, row[1], row[2])
    redis.call('ZADD', booked, redis.call('INCR', version_key), row[1])
    repeat
      local oldest = redis.call('ZRANGE', booked, 0, 0)[1]
      local is_past = cjson.decode(oldest)[3] < row[3]
      if is_past then
        redis.call('ZREM', booked, oldest)
        redis.call('HDEL', spent, oldest)
      end
    until not is_past
  end
end
for _, change in ipairs(cjson.decode(ARGV[4])) do asked[change[1]] = true end
for _, lost in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - tonumber(ARGV[6]))) do
  redis.call('HDEL', notes, lost)
end
for _, lost in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - tonumber(ARGV[7]))) do
  redis.call('HDEL', numbers, lost)
  redis.call('ZREM', seen, lost)
end
local others, told = redis.call('HGETALL', notes), {}
for at = 1, #others, 2 do
  if others[at] ~= gateway then
    told[#told + 1] = others[at]
    told[#told + 1] = others[at + 1]
    for tenant in pairs(cjson.decode(others[at + 1]).waiting or {}) do asked[tenant] = true end
  end
end
local merged = {}
for tenant in pairs(asked) do
  merged[#merged + 1] = tenant
  merged[#merged + 1] = redis.call('HGET', counters, tenant) or '0'
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, tonumber(ARGV[8])) end
local news = {}
for _, row in ipairs(redis.call('ZRANGEBYSCORE', booked, '(' .. ARGV[10], '+inf')) do
  if cjson.decode(row)[1] ~= gateway then
    news[#news + 1] = row
    news[#news + 1] = redis.call('HGET', spent, row)
  end
end
return {lives, merged, told, news, redis.call('GET', version_key) or '0'}
"""


class RedisStore:
    """One connection to the store at `url`; `fleet` keeps fleets apart."""

    def __init__(self, url: str, fleet: str, password: str | None = None) -> None:
        self._redis = Redis.from_url(
            url,
            password=password,
            socket_timeout=DEADLINE_S,
            socket_connect_timeout=CONNECT_DEADLINE_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=1,
        )
        names = ("service", "notes", "seen", "numbers", "born", "spent", "booked", "version")
        self._keys = [f"tierline:{{{fleet}}}:{name}" for name in names]
        self._merge = self._redis.register_script(_MERGE)

    async def exchange(self, exchange: Exchange) -> Shared:
        """Run the script; raises `StoreUnavailable`."""
        arguments: list[str | bytes | int] = [
            *(exchange.gateway, exchange.number, exchange.born),
            *(msgspec.json.encode(exchange.changes), msgspec.json.encode(exchange.note)),
            *(LOST_AFTER_MS, REMEMBERED_MS, KEPT_SECONDS),
            *(msgspec.json.encode([_booked(row) for row in exchange.spent]), exchange.spent_version),
        ]
        try:
            born, merged, told, news, version = await heeding(self._merge(keys=self._keys, args=arguments))
            return Shared(bytes(born).decode(), _counters(merged), _notes(told), _spent(news), int(version))
        except (RedisError, OSError, msgspec.MsgspecError, ValueError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        await self._redis.aclose()


def _counters(flat: list[Any]) -> dict[str, float]:
    return {bytes(name).decode(): float(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _notes(flat: list[Any]) -> dict[str, Note]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {bytes(name).decode(): msgspec.json.decode(note, type=Note) for name, note in pairs}


def _booked(row: Spent) -> tuple[str, str, int]:
    """What names a row, its total in digits (a number of Lua has too few), and the oldest hour to keep."""
    name = msgspec.json.encode((row.gateway, row.tenant, row.hour)).decode()
    return name, str(row.total), row.hour - HOURS


def _spent(flat: list[Any]) -> tuple[Spent, ...]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return tuple(Spent(*msgspec.json.decode(name, type=tuple[str, str, int]), int(total)) for name, total in pairs)
