"""Weights in few bits: what they keep of the original, and that every format loads and computes."""

import gguf
import pytest
import torch
from engine_testing import Bench
from tiny_checkpoint import QWEN2
from tiny_gguf import write_tiny_gguf

from tierline_worker.errors import SettingsError
from tierline_worker.model.linear import DenseLinear
from tierline_worker.model.linear_narrow import HalfLinear, Int4Linear, Int8Linear
from tierline_worker.model.load import load_model, open_checkpoint
from tierline_worker.model.number_format import NumberFormat
from tierline_worker.model.quantize import Groups4, Rows8

PROMPT = [7, 3, 99, 200, 41]
QUANTIZATIONS = ("None", "Int8", "Int4")
NAMES = ("model.layers.1.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "model.layers.2.mlp.down_proj")


def _matrix(rows: int = 192, columns: int = 96) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))


def _tokens(count: int, columns: int = 96) -> torch.Tensor:
    x = torch.randn(count, columns, generator=torch.Generator().manual_seed(count))
    # Some channels of real models are far larger than the others.
    x[:, 5] *= 60
    return x


def _error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


def test_four_bits_are_off_by_half_a_step():
    weight = _matrix()
    groups = Groups4.of(weight)
    off = (groups.dense() - weight).abs().unflatten(1, (-1, 32))
    assert (off <= groups.scale.unsqueeze(-1) * 0.5001).all()
    assert groups.values.max() == 15


def test_eight_bits_are_off_by_half_a_step():
    weight = _matrix()
    rows = Rows8.of(weight)
    assert ((rows.values * rows.scale[:, None] - weight).abs() <= rows.scale[:, None] * 0.5001).all()


def test_equal_weights_of_a_group_are_kept():
    weight = torch.full((64, 32), 0.7)
    torch.testing.assert_close(Groups4.of(weight).dense(), weight)
    assert torch.equal(Rows8.of(torch.zeros(64, 32)).values, torch.zeros(64, 32, dtype=torch.int8))


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1"])
@pytest.mark.parametrize("name", NAMES)
def test_a_gguf_keeps_its_own_values(tmp_path, kind, name):
    checkpoint = open_checkpoint(write_tiny_gguf(tmp_path / "tiny.gguf", quantisation=gguf.GGMLQuantizationType[kind]))
    groups = checkpoint.groups(f"{name}.weight")
    assert groups is not None
    torch.testing.assert_close(groups.dense(), checkpoint.tensor(f"{name}.weight"), rtol=1e-6, atol=1e-6)
    assert torch.equal(groups.values.unique(), torch.arange(16, dtype=torch.uint8))


def test_other_kinds_have_no_values_of_four_bits(tmp_path, tiny_path):
    path = write_tiny_gguf(tmp_path / "tiny.gguf", quantisation=gguf.GGMLQuantizationType.Q8_0)
    assert open_checkpoint(path).groups(f"{NAMES[0]}.weight") is None
    assert open_checkpoint(tiny_path).groups(f"{NAMES[0]}.weight") is None


@pytest.mark.parametrize("tokens", [1, 3, 127, 128, 150])
def test_the_four_bit_kernel_multiplies_by_the_groups(tokens):
    groups, x, bias = Groups4.of(_matrix()), _tokens(tokens), _matrix(1, 192)[0]
    wanted = x @ groups.dense().T + bias
    assert _error(Int4Linear(groups, bias)(x), wanted) < 0.006


@pytest.mark.parametrize("tokens", [1, 2, 100])
def test_eight_bit_weights_do_not_coarsen_tokens(tokens):
    rows, x, bias = Rows8.of(_matrix()), _tokens(tokens), _matrix(1, 192)[0]
    wanted = x @ (rows.values * rows.scale[:, None]).T + bias
    assert _error(Int8Linear(rows, bias)(x), wanted) < 1e-3


def test_a_tokens_eight_bit_result_does_not_depend_on_its_company():
    linear, x = Int8Linear(Rows8.of(_matrix())), _tokens(40)
    together = linear(x)
    assert all(torch.equal(linear(x[row : row + 1])[0], together[row]) for row in range(len(x)))


@pytest.mark.parametrize("hidden", [torch.float32, torch.bfloat16])
def test_a_narrow_layer_answers_in_the_dtype_of_its_input(hidden):
    weight, x = _matrix(), _tokens(3)
    layers = (HalfLinear(weight), Int8Linear(Rows8.of(weight)), Int4Linear(Groups4.of(weight)))
    for layer in layers:
        assert layer(x.to(hidden)).dtype is hidden
        assert _error(layer(x.to(hidden)).float(), x @ weight.T) < 0.15


def test_half_weights_are_used_where_all_numbers_fit(monkeypatch):
    monkeypatch.setattr("tierline_worker.model.number_format.multiplies_bfloat16", lambda: False)
    numbers = NumberFormat.choose(torch.bfloat16)
    assert numbers.hidden is torch.float32
    assert isinstance(numbers.linear(_matrix()), HalfLinear)
    large = _matrix() * 1e6
    linear = numbers.linear(large)
    assert isinstance(linear, DenseLinear)
    assert _error(linear(_tokens(3)), _tokens(3) @ large.bfloat16().float().T) < 1e-5


def test_shapes_that_the_four_bit_kernel_does_not_take_stay_as_they_are():
    assert isinstance(NumberFormat.choose(torch.float32, "Int4").linear(_matrix(70, 96)), DenseLinear)


@pytest.mark.parametrize(("quantization", "bits", "coarse"), [("Int8", 8, 0.02), ("Int4", 4, 0.2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_kernel_of_its_own_a_device_decodes_weights_for_each_product(quantization, bits, coarse, dtype):
    """These layers are torch's operators alone, so what a CPU computes of them a GPU does as well."""
    weight, bias = _matrix(), torch.randn(192)
    linear = NumberFormat.choose(dtype, quantization, "cuda").linear(weight, bias)
    given = linear(_tokens(5).to(dtype))
    stored = Rows8.of(weight) if quantization == "Int8" else Groups4.of(weight)
    dense = stored.values * stored.scale[:, None] if isinstance(stored, Rows8) else stored.dense()
    assert given.dtype is dtype
    assert _error(given.float(), _tokens(5) @ dense.T + bias) < (1e-5 if dtype is torch.float32 else 0.02)
    assert _error(given.float(), _tokens(5) @ weight.T + bias) < coarse
    assert linear.weight_bytes < weight.numel() * (bits + 3) / 8


def test_a_quantization_that_a_cpu_does_not_compute_is_refused(monkeypatch):
    monkeypatch.setattr("tierline_worker.model.number_format.has_fbgemm", lambda: False)
    with pytest.raises(SettingsError, match="TIERLINE_MODEL_QUANTIZATION is Int8"):
        NumberFormat.choose(torch.bfloat16, "Int8")


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_format_generates(tiny_path, tiny_bench, dtype, quantization):
    bench = Bench.load(tiny_path, dtype, quantization=quantization)
    expected = tiny_bench.generate(PROMPT, 4)
    assert bench.generate(PROMPT, 4, chunk=2) == bench.generate(PROMPT, 4)
    if quantization != "Int4":
        assert bench.generate(PROMPT, 4) == expected


def test_biases_of_a_family_are_added_in_every_format(tmp_path):
    path = write_tiny_gguf(tmp_path / "tiny.gguf", quantisation=gguf.GGMLQuantizationType.Q4_1, **QWEN2)
    expected = Bench.load(path).generate(PROMPT, 6)
    assert [Bench.load(path, quantization=name).generate(PROMPT, 6) for name in ("Int8", "Int4")] == [expected] * 2


def test_fewer_bits_take_less_memory(tiny_path):
    sizes = [load_model(tiny_path, torch.float16, quantization=name).weight_bytes for name in QUANTIZATIONS]
    layer = (128 + 64) * 64 + 3 * 96 * 64
    assert sizes[0] == 2 * (3 * layer + 2 * 320 * 64)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.5 * sizes[0]
