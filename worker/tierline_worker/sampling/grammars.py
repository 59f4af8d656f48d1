"""Compiles grammars beside the engine's thread, once each, against the model's own vocabulary."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from llguidance import LLMatcher, LLTokenizer

from tierline.text.grammar import grammar_limits, guidance_of
from tierline.text.tokenizer import Tokenizer
from tierline.wire.frames import Grammar

_REMEMBERED = 64


class GrammarError(ValueError):
    """A grammar that cannot be compiled, or an answer that does not follow its own."""


class Grammars:
    """The matchers of one model. Building its token trie takes up to a second, so that begins with `prepare`.

    `vocab_size` is the width of the model's logits, `eos_token_ids` what ends its answers besides the tokenizer's own.
    """

    def __init__(
        self, load_tokenizer: Callable[[], Tokenizer], vocab_size: int, eos_token_ids: tuple[int, ...]
    ) -> None:
        self._load_tokenizer = load_tokenizer
        self._vocab_size = vocab_size
        self._eos_token_ids = eos_token_ids
        # One thread: its jobs run in order, so the tokenizer is there before the first grammar, and nothing is locked.
        self._thread = ThreadPoolExecutor(1, "grammars")
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def prepare(self) -> Future[LLTokenizer]:
        """Begin to build what every grammar needs."""
        return self._thread.submit(self._ready_tokenizer)

    def matcher(self, grammar: Grammar) -> Future[LLMatcher]:
        """Begin to make a matcher at the start of `grammar`; its result raises `GrammarError` or `TokenizerError`."""
        return self._thread.submit(self._matcher, grammar)

    def _matcher(self, grammar: Grammar) -> LLMatcher:
        found = self._compiled.get(grammar)
        if found is None:
            found = self._compile(grammar)
            self._compiled[grammar] = found
            if len(self._compiled) > _REMEMBERED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(grammar)
        return found.deep_copy()

    def _compile(self, grammar: Grammar) -> LLMatcher:
        try:
            text = guidance_of(grammar)
        except ValueError as error:
            raise GrammarError(f"sampling.grammar ({grammar.kind}) is no JSON object: {error}") from error
        made = LLMatcher(self._ready_tokenizer(), text, log_level=0, limits=grammar_limits())
        if made.is_error():
            raise GrammarError(f"sampling.grammar ({grammar.kind}) cannot be compiled: {made.get_error()}")
        return made

    def _ready_tokenizer(self) -> LLTokenizer:
        if self._tokenizer is None:
            loaded = self._load_tokenizer()
            ends = sorted(loaded.eos_ids | set(self._eos_token_ids))
            if not ends:
                raise GrammarError("sampling.grammar: the model's files name no token that ends an answer")
            self._tokenizer = LLTokenizer(loaded.backend.to_str(), n_vocab=self._vocab_size, eos_token=ends)
        return self._tokenizer
