"""In which numbers a model is held and computed: what was asked for, as this machine does it best."""

from dataclasses import dataclass, field

import torch

from tierline_worker.errors import SettingsError
from tierline_worker.model.linear import DenseLinear, Linear, multiplies_bfloat16
from tierline_worker.model.linear_decoded import DecodedInt4Linear, DecodedInt8Linear
from tierline_worker.model.linear_narrow import HalfLinear, Int4Linear, Int8Linear, Scratch, has_fbgemm
from tierline_worker.model.quantize import Groups4, Rows8


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """Formats of one model on one kind of device.

    `stored` is the dtype of embeddings and KV, and of weights before quantization. `hidden` is the dtype of the hidden
    states: float32 where the CPU cannot multiply `stored` itself, since torch's products of 16-bit numbers are slower
    there than those in float32 (six times at 32 rows, on AVX2). `scratch` is shared by the model's layers. `decodes`
    says that quantized weights are decoded for each product: the device has no kernel for them.
    """

    stored: torch.dtype
    hidden: torch.dtype
    quantization: str = "None"
    decodes: bool = False
    scratch: Scratch = field(default_factory=Scratch, compare=False)

    @staticmethod
    def choose(stored: torch.dtype, quantization: str = "None", device: str = "cpu") -> "NumberFormat":
        """Return the formats for a model in `stored`; raises `SettingsError` for what this machine cannot compute."""
        if device != "cpu":
            return NumberFormat(stored, stored, quantization, decodes=True)
        if quantization == "Int8" and not has_fbgemm():
            _refuse_quantized(quantization, "by this CPU's build of torch")
        native = stored is torch.bfloat16 and multiplies_bfloat16() and quantization != "Int8"
        return NumberFormat(stored, torch.bfloat16 if native else torch.float32, quantization)

    def linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
        """Return a layer of `weight` [out, in] and `bias` [out], both in any dtype."""
        bias = None if bias is None else bias.to(self.hidden)
        if self.quantization == "Int4" and self._holds_4_bits(weight):
            return self._of_groups(Groups4.of(weight), bias)
        if self.quantization == "Int8":
            return self._of_rows(Rows8.of(weight), bias)
        return self._unquantized(weight.to(self.stored), bias)

    def head(self, weight: torch.Tensor) -> Linear:
        """Return the layer of the vocabulary, which decides between tokens: it keeps at least 8 bits."""
        if self.quantization != "None" and (self.decodes or has_fbgemm()):
            return self._of_rows(Rows8.of(weight), None)
        return self._unquantized(weight.to(self.stored), None)

    def linear_of_groups(self, weight: Groups4, bias: torch.Tensor | None = None) -> Linear:
        """Return a layer of weights that are in 4 bits already, with those very bits where the format has 4."""
        if self.quantization == "Int4" and self._holds_4_bits(weight.values):
            return self._of_groups(weight, None if bias is None else bias.to(self.hidden))
        return self.linear(weight.dense(), bias)

    def _holds_4_bits(self, weight: torch.Tensor) -> bool:
        return DecodedInt4Linear.holds(weight) if self.decodes else Int4Linear.holds(weight)

    def _of_groups(self, weight: Groups4, bias: torch.Tensor | None) -> Linear:
        return DecodedInt4Linear(weight, bias) if self.decodes else Int4Linear(weight, bias, self.scratch)

    def _of_rows(self, weight: Rows8, bias: torch.Tensor | None) -> Linear:
        return DecodedInt8Linear(weight, bias) if self.decodes else Int8Linear(weight, bias)

    def _unquantized(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        if weight.dtype.itemsize < self.hidden.itemsize and has_fbgemm() and HalfLinear.holds(weight):
            return HalfLinear(weight, bias)
        return DenseLinear(weight.to(self.hidden), bias)


def _refuse_quantized(quantization: str, where: str) -> None:
    if quantization != "None":
        problem = f"TIERLINE_MODEL_QUANTIZATION is {quantization}, which is not computed {where}"
        raise SettingsError(f"{problem}: set the fleet's model.quantization to None")
