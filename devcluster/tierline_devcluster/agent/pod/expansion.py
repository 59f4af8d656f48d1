"""`$(NAME)` references in commands, arguments and variables, as Kubernetes defines them."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^()]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; an unknown name stays as it is, and `$$` is an escaped `$`."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "$"
        return values.get(name, match[0])

    return _REFERENCE.sub(replace, text)
