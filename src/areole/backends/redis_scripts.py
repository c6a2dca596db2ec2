"""The steps that Redis does at once, in Lua: each looks and acts in one atomic step of the server.

A value and its token lie in one slot. Scripts on many keys get the n values' keys first, then those of their n tokens.
Those that change something publish the keys' names: see `redis_listener`.
What may be refused for want of memory comes first: a script that has changed something is not stopped.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = ["CHANNEL", "EXPIRE", "KILL", "RENEW", "SET", "STORE", "TAKE", "Script"]


class Script:
    """A script, by its text and by the digest under which a server that has seen it keeps it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()


CHANNEL: Final = b"areole:changes:v1"
"""On which the names of keys that were changed are published, one in a line."""

_PUBLISHES: Final = f"""
local function publish()
  redis.call('PUBLISH', '{CHANNEL.decode()}', table.concat(KEYS, '\\n', 1, #KEYS / 2))
end
"""

# the values, then the words of SET that follow each of them: how many were stored
SET: Final = Script(
    _PUBLISHES
    + """
local n = #KEYS / 2
local stored = 0
for i = 1, n do
  if redis.call('SET', KEYS[i], ARGV[i], unpack(ARGV, n + 1)) then
    redis.call('UNLINK', KEYS[n + i])
    stored = stored + 1
  end
end
publish()
return stored
"""
)

# how many bytes of each value are wanted: the first ones of each value, or nil
KILL: Final = Script(
    _PUBLISHES
    + """
local n = #KEYS / 2
local heads = {}
for i = 1, n do
  local head = redis.call('GETRANGE', KEYS[i], 0, ARGV[1] - 1)
  heads[i] = redis.call('UNLINK', KEYS[i]) == 1 and head
  redis.call('UNLINK', KEYS[n + i])
end
publish()
return heads
"""
)

# a token, its lease in ms, and the head of the value that was seen, if one was: a value or nil, a token or nil
TAKE: Final = Script("""
local value = redis.call('GET', KEYS[1])
if value and not (ARGV[3] and string.sub(value, 1, ARGV[4]) == ARGV[3]) then
  return {value, false}
end
local token = redis.call('GET', KEYS[2])
if not token then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  token = ARGV[1]
end
return {false, token}
""")

# a token, its lease in ms: 1 if it stands
RENEW: Final = Script("""
if redis.call('GET', KEYS[2]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 0
""")

# a token, and what follows the key in SET, if something is to be stored: 1 if it stood
STORE: Final = Script(
    _PUBLISHES
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
if ARGV[2] then
  local was_there = redis.call('EXISTS', KEYS[1])
  redis.call('SET', KEYS[1], unpack(ARGV, 2))
  if was_there == 1 then
    publish()
  end
end
redis.call('UNLINK', KEYS[2])
return 1
"""
)

# milliseconds, if it is to expire: 1 if there is a value
EXPIRE: Final = Script(
    _PUBLISHES
    + """
local is_there = redis.call('EXISTS', KEYS[1])
if ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
else
  redis.call('PERSIST', KEYS[1])
end
publish()
return is_there
"""
)
