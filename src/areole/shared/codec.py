"""Until `areole.serializers` has `as_serializer`: JSON alone."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["as_serializer"]


class _Json:
    name, runs_code, is_signed = "json", False, False

    def dumps(self, value: Any, context: bytes = b"") -> bytes:
        return json.dumps(value).encode()

    def loads(self, data: bytes, context: bytes = b"") -> Any:
        return json.loads(data)


def as_serializer(thing: Any) -> Any:
    return _Json() if isinstance(thing, str) else thing
