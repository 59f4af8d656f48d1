"""Errors that a person reads: what is wrong, in which field, and what to do about it."""


class ModelError(Exception):
    """A model that cannot be served. The message is one line: the field, the problem and the fix."""

    def __init__(self, source: object, problem: str, fix: str) -> None:
        super().__init__(f"model.source {str(source)!r}: {_one_line(problem)}; {_one_line(fix)}")


class AdapterError(Exception):
    """A LoRA adapter that cannot be served. The message is one line: which part of it, the problem and the fix."""

    def __init__(self, source: object, problem: str, fix: str) -> None:
        super().__init__(f"lora adapter {str(source)!r}: {_one_line(problem)}; {_one_line(fix)}")


class SettingsError(Exception):
    """An environment variable that has no legal value. The message names it and the legal range."""


def _one_line(text: str) -> str:
    return " ".join(text.split())
