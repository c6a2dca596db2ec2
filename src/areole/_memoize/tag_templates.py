"""What `tags=` of a cache or of a function says: texts, templates such as "user:{user_id}", or a callable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._platform.arguments import check_plain, check_tags
from .key_template import KeyTemplate

__all__ = ["tags_of_key", "tags_source"]


class _TagTemplate(KeyTemplate):
    what = "tag"


def _templates(tags: Any, parameters: Sequence[str], called: str) -> list[_TagTemplate]:
    return [_TagTemplate(tag, parameters, called) for tag in check_tags(called, tags)]


def tags_of_key(tags: Any, called: str) -> Callable[[Any], Iterable[str]]:
    """Return what gives the tags of a key of the cache `called`; templates have the field {key}."""
    if callable(tags):
        check_plain("tags", tags)
        return tags  # type: ignore[no-any-return]
    templates = _templates(tags, ("key",), called)
    return lambda key: [template(*(key for _ in template.parameters)) for template in templates]


def tags_source(
    tags: Any, parameters: Sequence[str], call: str, suffix: str, called: str
) -> tuple[str, dict[str, Any]]:
    """Return the source text for the tags of a call of a function with these parameters, and the names it needs."""
    if callable(tags):
        check_plain("tags", tags)
        return f"tags{suffix}({call})", {"tags": tags}
    templates = _templates(tags, parameters, called)
    texts = [f"tag{number}{suffix}({', '.join(each.parameters)}), " for number, each in enumerate(templates)]
    return f"({''.join(texts)})", {f"tag{number}": each for number, each in enumerate(templates)}
