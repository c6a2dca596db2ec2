"""What RedisBackend makes of keys, prefixes and times before it sends them."""

from __future__ import annotations

import random

import pytest

from areole.backends.redis_commands import pack
from areole.backends.redis_keys import escaped, is_cleared, ms, slot_of, token_of

from . import servers

AWKWARD = ["", "a}b", "}", "{}", "{}a", "a{}b{c}", "}{", "a}{b", "{", "{{", "{{}}", "}}", "{}}", "a{b", "é}", "{é}"]


def random_keys(number: int) -> list[str]:
    choice = random.Random(7).choices
    return ["".join(choice("ab{}!é", k=length % 9)) for length in range(number)]


def test_a_token_lies_in_the_slot_of_its_key_and_belongs_to_no_other() -> None:
    keys = [*AWKWARD, "k", "k!", "{k}!", "{k}", "{k}!token", "k!!token", "shop:v1:user:7", *random_keys(3000)]
    owner: dict[bytes, str] = {}
    for key in keys:
        token = token_of(key.encode())
        assert slot_of(token) == slot_of(key.encode()), key
        assert owner.setdefault(token, key) == key
    assert token_of(b"shop:v1:user:7") == b"{shop:v1:user:7}!token", "what is in the servers of others does not change"


def test_slots_are_those_of_the_server(redis_single: servers.RedisServer, redis_cluster: servers.Cluster) -> None:
    for key in [*AWKWARD, "k", "shop:v1:user:7", *random_keys(30)]:
        assert slot_of(key.encode()) == int(redis_cluster.nodes[0].cli("CLUSTER", "KEYSLOT", key)), key


@pytest.mark.parametrize("prefix", ["", "a", "a:", "{", "{a", "{a}", "}", "é"])
def test_a_prefix_covers_its_keys_and_their_tokens_and_no_others(prefix: str) -> None:
    for key in [*AWKWARD, *random_keys(500)]:
        name, start = key.encode(), prefix.encode()
        assert is_cleared(name, start) == key.startswith(prefix)
        covered = is_cleared(token_of(name), start)
        assert covered or not key.startswith(prefix)
        if "}" not in key and "{" not in prefix:
            assert covered == key.startswith(prefix)


def test_globs_are_escaped() -> None:
    assert escaped(b"a[1]*?\\b") == rb"a\[1\]\*\?\\b"
    assert escaped("é:^-".encode()) == "é:^-".encode()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1, 1000), (0.3, 300), (0.0004, 1), (1e-9, 1), (0.0016, 2), (1e30, 10**17), (float("inf"), 10**17)],
)
def test_milliseconds(seconds: float, expected: int) -> None:
    assert int(ms(seconds)) == expected


def test_a_command_is_packed_as_the_protocol_says() -> None:
    assert pack((b"SET", b"k\r\n", b"")) == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n"
