"""What redis-py raises, as errors of areole: what happened, then what to change. Never with a password."""

from __future__ import annotations

from typing import Final

from ..errors import BackendError, BackendTimeout
from .redis_servers import Servers

__all__ = ["as_backend_error", "code_of", "redirection"]

CODES: Final = {
    "AskError": "ASK",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
"""The first word of the server's answer, by the class that redis-py makes of it; which ones have one, depends on its
version. All others are a ResponseError with that word in the text."""

ADVICE: Final = {
    "ASK": "This server is part of a cluster: write redis+cluster:// for redis://.",
    "BUSY": "Another program runs a slow script: find it with SLOWLOG GET.",
    "CLUSTERDOWN": "Look at CLUSTER INFO: some slots have no server.",
    "CROSSSLOT": "This server is part of a cluster: write redis+cluster:// for redis://.",
    "LOADING": "The server has just started, and reads its data: try again.",
    "MASTERDOWN": "This server is a replica: name the primary, or a Sentinel by sentinel://.",
    "MISCONF": "The server cannot write to its disk: see its log.",
    "MOVED": "This server is part of a cluster: write redis+cluster:// for redis://.",
    "NOAUTH": "Give the user name and the password in the URL: redis://user:password@host.",
    "NOPERM": "Let this user run GET, MGET, SET, UNLINK, SCAN, PTTL, PEXPIRE and EVALSHA (ACL SETUSER).",
    "OOM": "The server's memory is full: raise its maxmemory, or set maxmemory-policy to allkeys-lru.",
    "READONLY": "This server is a replica: name the primary, or a Sentinel by sentinel://.",
    "TRYAGAIN": "The key's slot is being moved to another server: try again.",
    "WRONGTYPE": "Another program keeps something else than text under this key: use another namespace or database.",
}


def code_of(error: BaseException) -> str:
    """Return the word by which Redis says what is wrong."""
    return CODES.get(type(error).__name__) or str(error).partition(" ")[0]


def redirection(error: Exception) -> tuple[str, int] | None:
    """Return the address to which a server of a cluster sends us; an empty host means its own."""
    if code_of(error) not in ("MOVED", "ASK"):
        return None
    host, _, port = str(error).split()[-1].rpartition(":")
    return host, int(port)


def as_backend_error(error: Exception, call: str, servers: Servers, seconds: float) -> BackendError:
    """Make an error of what redis-py has raised in `call`, with `error` as its cause, unless it quotes a password."""
    text = str(error).rstrip(".")
    hidden = [secret for secret in servers.secrets if secret in text]
    for secret in hidden:
        text = text.replace(secret, "***")
    made = _made(error, text, f"{call} ({servers.where})", seconds)
    made.__cause__ = None if hidden else error
    return made


def _made(error: Exception, text: str, call: str, seconds: float) -> BackendError:
    if type(error).__name__ == "TimeoutError":  # of redis-py, of asyncio, or the built-in one
        return BackendTimeout(
            f"{call}: no answer within {seconds:g} s. See whether the server is overloaded, or raise timeout."
        )
    code = code_of(error)
    if code in ADVICE:
        return BackendError(f"{call}: {text}. {ADVICE[code]}")
    if type(error).__name__ == "ResponseError":
        return BackendError(f"{call}: the server refused: {text}.")
    return BackendError(
        f"{call}: {text or type(error).__name__}. See whether the server runs, and whether the URL is right."
    )
