"""Asking one port after the other for an account of something: whoever had it in hand knows it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tierline_cli.errors import CommandFailed
from tierline_cli.live.pods import Port


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: `path` on every port; `asked` and `subject` say in words who, and of what."""

    asked: str
    subject: str
    path: str


def find_account(question: Question, ports: Iterable[Port]) -> dict[str, Any]:
    """Return the first account that a port has; raises `CommandFailed` that says what each of them answered."""
    failures = []
    for port in ports:
        try:
            answer = port.get(question.path)
        except CommandFailed as error:
            failures.append(str(error))
            continue
        if answer.status == 200:
            account: dict[str, Any] = json.loads(answer.text)
            return account
        failures.append(f"{port.title}: {_words(answer.text)}")
    raise CommandFailed(f"no {question.asked} has an account of {question.subject}: {'; '.join(failures)}")


def _words(text: str) -> str:
    """Return what a refusal says: the error of a JSON object, or the text as it is."""
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.strip()
