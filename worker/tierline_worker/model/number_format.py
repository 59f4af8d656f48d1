"""In which numbers a model is held and computed: what was asked for, as this machine does it best."""

from dataclasses import dataclass, field

import torch

from tierline_worker.errors import SettingsError
from tierline_worker.model.linear import DenseLinear, Linear, multiplies_bfloat16
from tierline_worker.model.linear_narrow import HalfLinear, Int4Linear, Int8Linear, Scratch, has_fbgemm
from tierline_worker.model.quantize import Groups4, Rows8


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """Formats of one model on one kind of device.

    `stored` is the dtype of embeddings and KV, and of weights before quantization. `hidden` is the dtype of the hidden
    states: float32 where the CPU cannot multiply `stored` itself, since torch's products of 16-bit numbers are slower
    there than those in float32 (six times at 32 rows, on AVX2). `scratch` is shared by the model's layers.
    """

    stored: torch.dtype
    hidden: torch.dtype
    quantization: str = "None"
    scratch: Scratch = field(default_factory=Scratch, compare=False)

    @staticmethod
    def choose(stored: torch.dtype, quantization: str = "None", device: str = "cpu") -> "NumberFormat":
        """Return the formats for a model in `stored`; raises `SettingsError` for what this machine cannot compute."""
        if device != "cpu":
            _refuse_quantized(quantization, f"on {device}")
            return NumberFormat(stored, stored)
        if quantization == "Int8" and not has_fbgemm():
            _refuse_quantized(quantization, "by this CPU's build of torch")
        native = stored is torch.bfloat16 and multiplies_bfloat16() and quantization != "Int8"
        return NumberFormat(stored, torch.bfloat16 if native else torch.float32, quantization)

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
        """Return a layer of `weight` [out, in] and `bias` [out], both in any dtype."""
        bias = None if bias is None else bias.to(self.hidden)
        if self.quantization == "Int4" and Int4Linear.holds(weight):
            return Int4Linear(Groups4.of(weight), bias, self.scratch)
        if self.quantization == "Int8":
            return Int8Linear(Rows8.of(weight), bias)
        return self._unquantized(weight.to(self.stored), bias)

    def head(self, weight: torch.Tensor) -> Linear:
        """Return the layer of the vocabulary, which decides between tokens: it keeps at least 8 bits."""
        if self.quantization != "None" and has_fbgemm():
            return Int8Linear(Rows8.of(weight))
        return self._unquantized(weight.to(self.stored), None)

    def linear_of_groups(self, weight: Groups4, bias: torch.Tensor | None = None) -> Linear:
        """Return a layer of weights that are in 4 bits already, with those very bits where the format has 4."""
        if self.quantization == "Int4" and Int4Linear.holds(weight.values):
            return Int4Linear(weight, None if bias is None else bias.to(self.hidden), self.scratch)
        return self.linear(weight.dense(), bias)

    def _unquantized(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        if weight.dtype.itemsize < self.hidden.itemsize and has_fbgemm() and HalfLinear.holds(weight):
            return HalfLinear(weight, bias)
        return DenseLinear(weight.to(self.hidden), bias)


def _refuse_quantized(quantization: str, where: str) -> None:
    if quantization != "None":
        problem = f"TIERLINE_MODEL_QUANTIZATION is {quantization}, which is not computed {where}"
        raise SettingsError(f"{problem}: set the fleet's model.quantization to None")
