"""Pages of lists, by OpenAI's cursors."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tierline_gateway.front.api_errors import invalid


class Listed(Protocol):
    """Something with an id and a shown form."""

    @property
    def id(self) -> str: ...

    def shown(self) -> dict[str, Any]: ...


def page_of(listed: Sequence[Listed], query: Mapping[str, str], default_limit: int, most: int) -> dict[str, Any]:
    """Return the page after `query`'s cursor; raises `ApiError` 400 that names the parameter."""
    limit, after = _limit(query, default_limit, most), query.get("after", "")
    at = next((index + 1 for index, each in enumerate(listed) if each.id == after), None) if after else 0
    if at is None:
        raise invalid("after", f"'after' names {after!r}, which is not in the list; use an id of an earlier page.")
    page = listed[at : at + limit]
    return {
        "object": "list",
        "data": [each.shown() for each in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": at + limit < len(listed),
    }


def _limit(query: Mapping[str, str], default: int, most: int) -> int:
    given = query.get("limit", str(default))
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise invalid("limit", f"'limit' is {given!r}; it must be 1 to {most}.")
    return int(given)
