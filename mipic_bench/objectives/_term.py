"""The contract of a term: settings a recipe may give, trainable heads it may need, and its loss on hidden states."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from mipic_bench.errors import UserError
from mipic_bench.registry import leaves
from mipic_bench.settings import Layers, Positive, Weight
from mipic_bench.shapes import Shape, spread_layers

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States

LayerRule = Literal["default", "last", "thirds"]


@dataclass(frozen=True)
class Nesting:
    """What a recipe trains: the backbone's shape, the nested widths (ascending; the full width included or not),
    and the common temperature.
    """

    shape: Shape
    dims: tuple[int, ...]
    temperature: float

    @property
    def truncated(self) -> tuple[int, ...]:
        """The widths below the full one."""
        return tuple(dim for dim in self.dims if dim < self.shape.width)


class Term(BaseModel, ABC):
    """One objective with a weight, named inside a recipe. Leaves add settings, `heads` if they train any, and `loss`.

    The class docstring is shown to users; `formula` and `source` are printed by `mipic-bench show`. `version` is raised by
    hand when the term's numbers change, and only then: it makes finished runs stale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    formula: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    reads_temperature: ClassVar[bool] = True  # where not, a recipe may give it none

    weight: Weight = 1.0
    temperature: Positive | None = None

    @property
    def needs_teacher(self) -> bool:
        """Whether the term reads `states.teacher`, the vectors of the backbone as it was before training."""
        return False

    def refusal(self, kind: str) -> str:
        """Return why the term cannot train on a corpus of a kind ("text", "pairs", "triplets", "scored"); empty if it can."""
        return ""

    def resolved(self, nesting: Nesting) -> Self:
        """Return a copy with every default that depends on the backbone's shape replaced by numbers.

        Raises:
            UserError: for a width above the backbone's, a layer above its depth, or lists that do not fit each other; `where` is the
                term's own key.
        """
        return self.model_copy(update={"temperature": self.temperature or nesting.temperature})

    @abstractmethod
    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """Return the layers whose hidden states the term reads (ascending, 0 for the embedding output)."""

    def heads(self, nesting: Nesting, generator: "torch.Generator") -> "torch.nn.Module | None":
        """Return the trainable modules of the term, initialised from the given generator alone; None if it has none."""
        return None

    @abstractmethod
    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """Return the unweighted value of the term on a batch, a scalar."""


class LayerTerm(Term):
    """A term that works on a set of layers, given as numbers or by a rule (`chosen_layers`)."""

    layer_set: LayerRule | Layers = "default"

    def resolved(self, nesting: Nesting) -> Self:
        """See `Term.resolved`: the layers as numbers."""
        layers = chosen_layers("layer_set", self.layer_set, nesting)
        return super().resolved(nesting).model_copy(update={"layer_set": layers})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`."""
        return chosen_layers("layer_set", self.layer_set, nesting)


def check_layers(where: str, layers: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Return the layers if they rise and lie within the backbone, else raise a `UserError` with both values."""
    if list(layers) != sorted(set(layers)) or not layers:
        raise UserError(where, f"layers {list(layers)} are not rising", "list each layer once, in rising order")
    if layers[-1] > shape.depth:
        raise UserError(
            where, f"layer {layers[-1]} is above the backbone's depth {shape.depth}", f"use 1..{shape.depth}"
        )
    return layers


def chosen_layers(where: str, wanted: Layers | str, nesting: Nesting) -> tuple[int, ...]:
    """Return the layers a term works on: as given, or by a rule.

    "default": all, when there are up to seven, else seven spread to the last. "last": the last alone. "thirds": the blocks at
    one and two thirds of the depth (of six: 2 and 4, as in MIPIC's TinyBERT notebook).
    """
    depth = nesting.shape.depth
    if wanted == "default":
        return spread_layers(depth)
    if wanted == "last":
        return (depth,)
    if wanted == "thirds":
        return tuple(sorted({max(1, depth // 3), max(1, 2 * depth // 3)}))
    return check_layers(where, tuple(int(layer) for layer in wanted), nesting.shape)


def check_dims(dims: Sequence[int], width: int) -> None:
    """Refuse widths that do not rise or are above the full one: sums over the blocks between them would be wrong.

    Raises:
        ValueError: with both values.
    """
    if any(one >= other for one, other in pairwise((0, *dims, width + 1))):
        raise ValueError(
            f"dims are {list(dims)} of vectors of width {width}; give widths of 1..{width}, each above the last"
        )


def linear(inputs: int, outputs: int, generator: "torch.Generator", *, bias: bool) -> "torch.nn.Linear":
    """Return a linear map with PyTorch's own default initialization, drawn from a generator of ours."""
    import torch

    with torch.device("meta"):  # PyTorch's own draw from the global generator is skipped
        layer = torch.nn.Linear(inputs, outputs, bias=bias)
    layer.to_empty(device="cpu")
    bound = inputs**-0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer


def wide(values: "torch.Tensor") -> "torch.Tensor":
    """Return values in at least float32: half precision becomes float32, float64 stays."""
    import torch

    return values if values.dtype == torch.float64 else values.float()


Reduction = Literal["sum", "mean"]


def over_layers(values: "torch.Tensor", reduction: Reduction, layers: int, batch: int) -> "torch.Tensor":
    """Return the mean over the batch of SIA's sum over layers and widths, or of its mean over layers and sum of means over widths.

    Args:
        values: (width, layer x batch).
    """
    per_row = values.sum() if reduction == "sum" else values.mean(0).sum() / layers
    return per_row / batch


@cache
def terms() -> dict[str, type[Term]]:
    """Find every term: file name -> class."""
    from mipic_bench import objectives

    return leaves(objectives, Term)  # type: ignore[type-abstract]
