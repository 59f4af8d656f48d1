"""Prompts of about a wanted length: a question, and as much of a story before it as is needed."""

from itertools import cycle, islice

_TOKENS_PER_WORD = 1.35
_QUESTIONS = (
    "What should the harbour master do next?",
    "Write down what happened, in the order in which it happened.",
    "Who was right, and why?",
    "How would you explain this to a child?",
    "List three things that could have gone better.",
)
_STORY = (
    "The night ferry was late again because the eastern crane had stopped in the middle of a lift, and nobody on the "
    "quay could say whether the brake or the sensor had failed. Two lorries waited with fruit, one with glass, and the "
    "driver of the third slept. The clerk wrote the numbers of the containers on a board, wiped them off when they "
    "left, and counted what remained. At four in the morning the fog came in from the river and the lamps went yellow. "
    "A message arrived that the bridge upstream would close at noon for repairs, so whatever had to leave by road had "
    "to leave before that hour."
)
_WORDS = tuple(_STORY.split())


def prompt_text(tokens: int, number: int) -> str:
    """Return a prompt of about `tokens` tokens; different numbers give different prompts."""
    question = _QUESTIONS[number % len(_QUESTIONS)]
    words = max(round(tokens / _TOKENS_PER_WORD) - len(question.split()), 0)
    start = 7 * number % len(_WORDS)
    story = " ".join(islice(cycle(_WORDS), start, start + words))
    return f"{story} {question}".strip()
