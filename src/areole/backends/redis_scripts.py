"""The steps that Redis does at once, in Lua: each looks and acts in one atomic step of the server.

A value and its token lie in one slot. Scripts on many keys get the n values' keys first, then those of their n tokens.
What may be refused for want of memory comes first: a script that has changed something is not stopped.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final

__all__ = ["DELETE", "KILL", "PERSIST", "RENEW", "SET", "STORE", "TAKE", "Script"]


class Script:
    """A script, by its text and by the digest under which a server that has seen it keeps it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest().encode()


# the values, then the words of SET that follow each of them: how many were stored
SET: Final = Script("""
local n = #KEYS / 2
local stored = 0
for i = 1, n do
  if redis.call('SET', KEYS[i], ARGV[i], unpack(ARGV, n + 1)) then
    redis.call('UNLINK', KEYS[n + i])
    stored = stored + 1
  end
end
return stored
""")

# how many had a value
DELETE: Final = Script("""
local n = #KEYS / 2
local removed = 0
for i = 1, n do
  removed = removed + redis.call('UNLINK', KEYS[i])
  redis.call('UNLINK', KEYS[n + i])
end
return removed
""")

# how many bytes of each value are wanted: the first ones of each value, or nil
KILL: Final = Script("""
local n = #KEYS / 2
local heads = {}
for i = 1, n do
  local head = redis.call('GETRANGE', KEYS[i], 0, ARGV[1] - 1)
  heads[i] = redis.call('UNLINK', KEYS[i]) == 1 and head
  redis.call('UNLINK', KEYS[n + i])
end
return heads
""")

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
STORE: Final = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
if ARGV[2] then
  redis.call('SET', KEYS[1], unpack(ARGV, 2))
end
redis.call('UNLINK', KEYS[2])
return 1
""")

# 1 if there is a value
PERSIST: Final = Script("""
redis.call('PERSIST', KEYS[1])
return redis.call('EXISTS', KEYS[1])
""")
