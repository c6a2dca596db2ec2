"""What `tags=` of a cache or of a function says: texts, templates such as "user:{user_id}", or a callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .._platform.arguments import check_plain, check_tags
from .key_template import KeyTemplate

__all__ = ["tags_of_key", "tags_source"]


class _TagTemplate(KeyTemplate):
    what = "tag"


def _templates(tags: Any, parameters: Sequence[str], called: str) -> list[_TagTemplate]:
    return [_TagTemplate(tag, parameters, called) for tag in check_tags(called, tags)]


def tags_of_key(tags: Any, called: str) -> Callable[[Any], tuple[str, ...]]:
    """Return what gives the tags of a key of the cache `called`; templates have the field {key}."""
    if callable(tags):
        check_plain("tags", tags)
        return lambda key: check_tags(called, tags(key))
    templates = _templates(tags, ("key",), called)
    texts = tuple([template() for template in templates if not template.parameters])
    with_fields = [(template, len(template.parameters)) for template in templates if template.parameters]
    if not with_fields:
        return lambda key: texts
    return lambda key: texts + tuple([template(*[key] * fields) for template, fields in with_fields])


def tags_source(
    tags: Any, parameters: Sequence[str], call: str, suffix: str, called: str
) -> tuple[str, dict[str, Any]]:
    """Return the source text for the tags of a call of a function with these parameters, and the names it needs."""
    if callable(tags):
        check_plain("tags", tags)
        return f"check{suffix}(called{suffix}, tags{suffix}({call}))", {
            "check": check_tags,
            "called": called,
            "tags": tags,
        }
    templates = _templates(tags, parameters, called)
    names: dict[str, Any] = {f"tag{number}": each for number, each in enumerate(templates)}
    parts = [
        f"{name}{suffix}({', '.join(each.parameters)}), " if each.parameters else f"{each()!r}, "
        for name, each in names.items()
    ]
    return f"({''.join(parts)})", names
