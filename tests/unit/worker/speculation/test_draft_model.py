"""The draft model: what it catches up with, what it keeps of rejected drafts, and which models it may be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoint import write_tiny_checkpoint

from tierline_worker.assembly import load
from tierline_worker.attention.backend import PreparedAttention
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.batch import FlatBatch
from tierline_worker.errors import SettingsError
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.load import load_model
from tierline_worker.settings import WorkerSettings
from tierline_worker.speculation import draft_model
from tierline_worker.speculation.draft_cache import DraftCache
from tierline_worker.speculation.draft_model import ModelDrafter
from tierline_worker.speculation.drafter import DraftRows

TEXT = [int(token) for token in np.random.default_rng(6).integers(5, 250, 30)]


class Rig:
    """Two slots over a tiny model that drafts greedily; `forwarded` are the tokens of each of its passes."""

    def __init__(self, path: Path, blocks: int = 40, max_tokens: int = 64) -> None:
        model = load_model(path, torch.float32)
        self.cache = DraftCache(2, max_tokens, blocks, 4)
        self.tokens = np.zeros((2, 80), np.int64)
        self.forwarded: list[int] = []
        arena = KVArena.allocate(model.config, blocks, 4, torch.float32)
        self.attention = CPUAttention(arena)
        self.drafter = ModelDrafter(model, self, self.cache, 4, self._choose)

    def prepare(self, batch: FlatBatch) -> PreparedAttention:
        self.forwarded.append(len(batch.positions))
        return self.attention.prepare(batch)

    def _choose(self, logits: torch.Tensor, slots: np.ndarray, positions: np.ndarray) -> np.ndarray:
        assert len(slots) == len(positions) == len(logits)
        return logits.numpy().argmax(-1)

    def propose(self, *texts: list[int], wanted: int = 3) -> list[list[list[int]]]:
        for slot, text in enumerate(texts):
            self.tokens[slot, : len(text)] = text
        lengths = np.array([len(text) for text in texts])
        rows = DraftRows(self.tokens, np.arange(len(texts)), lengths, np.full(len(texts), wanted))
        with torch.inference_mode():
            proposals = self.drafter.propose(rows)
        return [[list(chain) for chain in chains] for chains in proposals]


def test_drafts_are_what_the_model_would_say(tiny_path: Path) -> None:
    [first] = Rig(tiny_path).propose(TEXT, wanted=5)[0]
    one_by_one = list(TEXT)
    for _ in range(5):
        one_by_one += Rig(tiny_path).propose(one_by_one, wanted=1)[0][0]
    assert first == one_by_one[len(TEXT) :]


def test_rejected_drafts_are_computed_again_and_accepted_ones_are_not(tiny_path: Path) -> None:
    rig = Rig(tiny_path)
    [draft] = rig.propose(TEXT, wanted=4)[0]
    accepted = [*TEXT, *draft[:2], 17]
    expected = Rig(tiny_path).propose(accepted, wanted=4)
    rig.forwarded.clear()
    assert rig.propose(accepted, wanted=4) == expected
    # The token that was not drafted, then all drafts but the last.
    assert rig.forwarded == [1, 1, 1, 1]


def test_a_text_is_caught_up_in_parts(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Rig(tiny_path).propose(TEXT)
    monkeypatch.setattr(draft_model, "CATCH_UP_TOKENS", 12)
    rig = Rig(tiny_path)
    assert rig.propose(TEXT) == [[]]
    assert rig.propose(TEXT) == [[]]
    assert rig.forwarded == [12, 12]
    assert rig.propose(TEXT) == expected != [[]]


def test_who_drafted_longest_ago_yields_its_blocks(tiny_path: Path) -> None:
    rig = Rig(tiny_path, blocks=9)
    expected = Rig(tiny_path).propose(TEXT)
    assert rig.propose(TEXT) == expected
    rig.tokens[1] = rig.tokens[0]
    lengths = np.array([len(TEXT)])
    with torch.inference_mode():
        [[other]] = rig.drafter.propose(DraftRows(rig.tokens, np.array([1]), lengths, np.array([3])))
    assert [[list(other)]] == expected
    assert rig.cache.computed[0] == 0
    # Together they do not fit: one goes without.
    assert sorted(len(chains) for chains in rig.propose(TEXT, TEXT)) == [0, 1]


def test_beyond_its_window_a_model_proposes_nothing(tiny_path: Path) -> None:
    assert Rig(tiny_path, max_tokens=len(TEXT) + 1).propose(TEXT, wanted=3) == [[]]
    assert Rig(tiny_path, max_tokens=len(TEXT) + 2).propose(TEXT, wanted=3) != [[]]


def test_a_slot_with_another_request_begins_anew(tiny_path: Path) -> None:
    rig, other = Rig(tiny_path), TEXT[::-1]
    rig.propose(TEXT)
    rig.drafter.forget(0)
    assert rig.propose(other) == Rig(tiny_path).propose(other)


def settings(target: Path, draft: Path, **environ: str) -> WorkerSettings:
    sizes = {"TIERLINE_KV_CACHE_BLOCKS": "16", "TIERLINE_MAX_RUNNING_REQUESTS": "2"}
    sources = {"TIERLINE_MODEL_SOURCE": f"file://{target}", "TIERLINE_DRAFT_SOURCE": f"file://{draft}"}
    return WorkerSettings.from_env({**sizes, **sources, **environ})


def test_a_draft_model_of_another_vocabulary_is_refused_by_name(tiny_path: Path, tmp_path: Path) -> None:
    larger = write_tiny_checkpoint(tmp_path / "larger", vocab_size=384)
    with pytest.raises(SettingsError, match=r"TIERLINE_DRAFT_SOURCE .* vocabulary has 384 tokens, the model's 320"):
        load(settings(tiny_path, larger))


def test_a_draft_model_with_another_tokenizer_is_refused_by_name(tiny_path: Path, tmp_path: Path) -> None:
    other = write_tiny_checkpoint(tmp_path / "other", seed=3)
    file = other / "tokenizer.json"
    file.write_text(file.read_text().replace("<|im_start|>", "<|begin|>"))
    with pytest.raises(SettingsError, match=r"TIERLINE_DRAFT_SOURCE .* tokenizer gives other ids"):
        load(settings(tiny_path, other))


def test_without_drafts_no_draft_model_is_loaded(tiny_path: Path, tmp_path: Path) -> None:
    loaded = load(settings(tiny_path, tmp_path / "nowhere", TIERLINE_MAX_DRAFT_TOKENS="0"))
    assert loaded.draft is None
    assert loaded.limits.max_draft_tokens == 0


def test_a_worker_loads_its_draft_model(tiny_path: Path, tmp_path: Path) -> None:
    draft = write_tiny_checkpoint(tmp_path / "draft", seed=3, num_hidden_layers=1)
    loaded = load(settings(tiny_path, draft, TIERLINE_MAX_DRAFT_TOKENS="3"))
    assert loaded.draft is not None
    assert loaded.limits.max_draft_tokens == 3
