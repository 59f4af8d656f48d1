"""Makes a worker's drafters from its settings."""

import contextlib
from pathlib import Path

from tierline.artifacts import open_weights
from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import TokenizerError
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.device.building import MakesAttention
from tierline_worker.errors import SettingsError
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.model.load import load_model
from tierline_worker.sampling.draw import draw_tokens
from tierline_worker.settings import WorkerSettings
from tierline_worker.slots import SlotTable
from tierline_worker.speculation.draft_cache import DraftCache
from tierline_worker.speculation.draft_model import ModelDrafter
from tierline_worker.speculation.drafter import Drafters
from tierline_worker.speculation.ngram import NGramDrafter
from tierline_worker.speculation.speculation import Speculation


def load_draft_model(settings: WorkerSettings, model: Decoder, model_path: Path) -> Decoder | None:
    """Fetch and load the draft model onto the device of `model`, None where none is set or speculation is off.

    Raises `SettingsError` when it does not speak the vocabulary of `model`, and what loading a model raises.
    """
    if not settings.draft_source or not settings.max_draft_tokens:
        return None
    with contextlib.closing(open_weights(settings.draft_source, settings.weights)) as opened:
        return _draft_at(opened.path, settings, model, model_path)


def _draft_at(path: Path, settings: WorkerSettings, model: Decoder, model_path: Path) -> Decoder:
    draft = load_model(path, settings.dtype, settings.max_model_tokens, device=model.embedding.device)
    sizes = (draft.config.vocab_size, model.config.vocab_size)
    if sizes[0] != sizes[1]:
        raise _other_vocabulary(settings, f"its vocabulary has {sizes[0]} tokens, the model's {sizes[1]}")
    if path != model_path and _vocabulary(settings, path) != _vocabulary(settings, model_path):
        raise _other_vocabulary(settings, "its tokenizer gives other ids than the model's")
    return draft


def build_speculation(
    settings: WorkerSettings,
    draft: Decoder | None,
    slots: SlotTable,
    arena: KVArena,
    attention_over: MakesAttention = lambda _model, arena: CPUAttention(arena),
) -> Speculation | None:
    """Return what proposes drafts: the draft model if there is one, and the texts themselves; None when it is off.

    On a GPU they are chains: its kernels attend to what precedes a token, not to a path in a tree. Raises
    `SettingsError` when the memory does not hold the draft model's KV.
    """
    if not settings.max_draft_tokens:
        return None
    branching = arena.pages.device.type == "cpu"
    if draft is None:
        return Speculation(NGramDrafter(), arena, branching=branching)
    by_model = _model_drafter(settings, draft, slots, arena, attention_over)
    return Speculation(Drafters((by_model, NGramDrafter())), arena, branching=branching)


def _model_drafter(
    settings: WorkerSettings, draft: Decoder, slots: SlotTable, target: KVArena, attention_over: MakesAttention
) -> ModelDrafter:
    blocks, block_tokens = target.blocks, target.block_tokens
    try:
        arena = KVArena.allocate(draft.config, blocks, block_tokens, settings.dtype, target.pages.device)
    except RuntimeError as error:
        raise SettingsError(
            f"TIERLINE_DRAFT_SOURCE is {settings.draft_source!r}: the memory does not hold its KV beside the model's, "
            f"use a smaller draft model or fewer blocks than {blocks} (TIERLINE_KV_CACHE_BLOCKS)"
        ) from error
    longest = min(slots.tokens.shape[1] - 1, draft.config.max_positions)
    return ModelDrafter(
        draft,
        attention_over(draft, arena),
        DraftCache(len(slots.tokens), longest, blocks, block_tokens),
        block_tokens,
        lambda logits, rows, positions: draw_tokens(logits, slots.sampling.draw_rows(rows, positions)),
    )


def _vocabulary(settings: WorkerSettings, path: Path) -> dict[str, int]:
    try:
        return load_tokenizer(path).backend.get_vocab(with_added_tokens=True)
    except TokenizerError as error:
        raise _other_vocabulary(settings, f"tokenizers cannot be compared: {error}") from error


def _other_vocabulary(settings: WorkerSettings, problem: str) -> SettingsError:
    return SettingsError(
        f"TIERLINE_DRAFT_SOURCE is {settings.draft_source!r}: {problem}; set model.draftSource to a smaller model with "
        "the same tokenizer, or leave it out"
    )
