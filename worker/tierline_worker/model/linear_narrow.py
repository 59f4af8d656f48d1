"""Linear layers on a CPU whose weights are held in fewer bits than float32: 16, 8 and 4.

Which of torch's kernels is fastest for what was measured (`bench/linear_formats.py`, ADR on number formats).
"""

import warnings

import torch

from tierline_worker.model.quantize import GROUP, Groups4, Rows8

_DENSE_FROM_TOKENS = 128
_ROW_BLOCKS = (64, 32)
_MIDDLE_7 = 64
_LEVELS_7 = 63


def has_fbgemm() -> bool:
    """Tell whether torch was built with the kernels for 16 and 8 bits (it is for x86)."""
    return "fbgemm" in torch.backends.quantized.supported_engines


class HalfLinear:
    """Weights in float16, products and sums in float32, with FBGEMM's kernels. The bias is float32.

    For CPUs that cannot multiply 16-bit numbers themselves: half the memory traffic of float32 at its precision.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.weight_bytes = weight.numel() * torch.float16.itemsize
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), bias)
        self._multiply = torch.ops.quantized.linear_dynamic_fp16.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = self._multiply(x.float(), self._packed)
        return product.to(x.dtype)

    @staticmethod
    def holds(weight: torch.Tensor) -> bool:
        """Tell whether no number of `weight` is too large for float16."""
        return bool(weight.abs().amax() <= torch.finfo(torch.float16).max)


class Int8Linear:
    """Weights in 8 bits with a scale for each output; tokens of `x` keep 13 bits with a scale of their own.

    FBGEMM multiplies integers and adds two products in 16 bits, so tokens may have 7 bits there. One such number is too
    coarse (of SmolLM2's tokens every seventh changes), so each token is two rows: the rounded one, and what rounding
    left, 126 times finer. Sums of integers are exact: a token's result does not depend on its company nor on the CPU.
    """

    def __init__(self, weight: Rows8, bias: torch.Tensor | None = None) -> None:
        self.weight_bytes = weight.values.nbytes + weight.scale.nbytes
        self._bias = bias
        self._packed = _prepacked(weight)
        self._multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        largest = torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True).float()
        step = largest.clamp_min_(torch.finfo(torch.float32).tiny).div_(_LEVELS_7)
        fine = x / step
        coarse = fine.round()
        fine.sub_(coarse).mul_(2 * _LEVELS_7)
        products: torch.Tensor = self._multiply(torch.cat((coarse, fine)), 1.0, _MIDDLE_7, self._packed)
        upper, lower = products.chunk(2)
        product = upper.add_(lower, alpha=0.5 / _LEVELS_7).mul_(step).to(x.dtype)
        return product if self._bias is None else product.add_(self._bias)


class Scratch:
    """One growing buffer: memory from the system costs more than what is computed in it."""

    def __init__(self) -> None:
        self._numbers = torch.empty(0)

    def of(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """Return a tensor that shares the buffer with all others of this scratch."""
        if self._numbers.numel() < shape.numel() or self._numbers.dtype is not dtype:
            self._numbers = torch.empty(shape.numel(), dtype=dtype)
        return self._numbers[: shape.numel()].view(shape)


class Int4Linear:
    """Weights in 4 bits with scale and minimum for each 32, products in bfloat16.

    Values stay as they are; scale and minimum are rounded to bfloat16, as the kernel takes them. The kernel decodes the
    weights anew for each few tokens, so long chunks decode them once, into `scratch`, which layers may share.
    """

    def __init__(self, weight: Groups4, bias: torch.Tensor | None = None, scratch: "Scratch | None" = None) -> None:
        self._scratch = scratch or Scratch()
        self._pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu.default
        self._values = self._pack(weight.values.int(), 2)
        middle = weight.minimum + 8 * weight.scale
        self._scales = torch.stack((weight.scale, middle), -1).transpose(0, 1).contiguous().bfloat16()
        self._bias = bias
        self._block = self._row_block()
        self.weight_bytes = self._values.nbytes + self._scales.nbytes
        self._multiply = torch.ops.aten._weight_int4pack_mm_for_cpu.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] >= _DENSE_FROM_TOKENS and self._block:
            product = torch.matmul(x, self._decoded(x.dtype)).transpose(0, 1).flatten(1)
        else:
            product = self._multiply(x.to(torch.bfloat16), self._values, GROUP, self._scales).to(x.dtype)
        return product if self._bias is None else product.add_(self._bias)

    @staticmethod
    def holds(weight: torch.Tensor) -> bool:
        """Tell whether the kernel takes the shape of `weight`."""
        return weight.shape[0] % _ROW_BLOCKS[0] == 0 and weight.shape[1] % GROUP == 0

    def _decoded(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the weight as [out / block, in, block], the kernel's own order; valid until the next such call."""
        values = _blocks(self._values, self._block)
        scale, middle = self._scales.to(dtype).view(-1, len(values), self._block, 2).permute(3, 1, 0, 2).unsqueeze(3)
        dense = self._scratch.of(values.shape, dtype).copy_(values)
        dense.view(len(values), -1, GROUP, self._block).sub_(8).mul_(scale).add_(middle)
        return dense

    def _row_block(self) -> int:
        """Return how many rows the kernel interleaves, which depends on the CPU; 0 when its order is not known."""
        sample = torch.arange(_ROW_BLOCKS[0] * GROUP, dtype=torch.int32).view(-1, GROUP) * 7 // 5 % 16
        packed = self._pack(sample, 2)
        return next((block for block in _ROW_BLOCKS if torch.equal(_in_rows(packed, block).int(), sample)), 0)


def _blocks(packed: torch.Tensor, block: int) -> torch.Tensor:
    """Return uint8 [out / block, in, block] of the kernel's order: each of its bytes holds two of a block's rows."""
    pairs = packed.view(-1, packed.shape[1] * 2, block // 2)
    return torch.cat((pairs & 15, pairs >> 4), dim=-1)


def _in_rows(packed: torch.Tensor, block: int) -> torch.Tensor:
    """Return uint8 [out, in] of the kernel's order."""
    return _blocks(packed, block).transpose(1, 2).flatten(0, 1)


def _prepacked(weight: Rows8) -> torch.ScriptObject:
    zero_points = torch.zeros(len(weight.scale), dtype=torch.int64)
    with warnings.catch_warnings():
        # The tensor type is deprecated, the kernel is not, and takes its weights in no other way.
        warnings.simplefilter("ignore", UserWarning)
        quantized = torch._make_per_channel_quantized_tensor(weight.values, weight.scale.double(), zero_points, 0)
    previous = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(quantized, None)
    finally:
        torch.backends.quantized.engine = previous
    return packed
