"""Starbucks: fixed sizes, each a pair of a width and a layer, trained together and aligned to the whole model."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.errors import UserError
from mipic_bench.objectives._divergence import coordinate_kl
from mipic_bench.objectives._task import Task, TaskTerm
from mipic_bench.objectives._term import Nesting
from mipic_bench.objectives.chain_info_nce import Checkpoint, check_rising
from mipic_bench.registry import lazy
from mipic_bench.settings import Weight
from mipic_bench.shapes import default_chain

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

SIZES = 6  # published: Demi (32, 2) to Trenta (768, 12)


def starbucks(
    layers: Mapping[int, "torch.Tensor"],
    sizes: Sequence[tuple[int, int]],
    task: Task,
    kl_weight: float = 0.3,
    *,
    detach: bool = False,
) -> "torch.Tensor":
    """Return task(X_N) + sum over the smaller sizes (d, l) of task(X_l[:d]) + kl_weight KL(softmax(X_N[:d]) || softmax(X_l[:d])).

    arXiv 2410.13230; ielab/Starbucks, sts/starbucks_loss.py at 6cc89d2d: its "temperature" 0.3 multiplies and nothing is divided by it.

    Args:
        layers: layer -> (row, dim) read-out.
        sizes: (dim, layer), rising; the last is the whole model.
        task: the task loss of such rows at some widths.
        kl_weight: of the divergence over coordinates.
        detach: whether the last layer is a constant in the divergence (published: not).

    Returns:
        A scalar.
    """
    (width, depth), smaller = sizes[-1], sizes[:-1]
    total = task(layers[depth], (width,)).sum()
    for dim, layer in smaller:
        total = total + task(layers[layer], (dim,)).sum()
        total = total + kl_weight * coordinate_kl(layers[layer][:, :dim], layers[depth][:, :dim], detach=detach)
    return total


class Starbucks(TaskTerm):
    """A task loss at each of a few fixed (width, layer) sizes, and the smaller ones aligned to the whole model."""

    formula: ClassVar[str] = (
        "task(X_N) + sum_(d, l) (task(X_l[:d]) + 0.3 KL(softmax(X_N[:d]) || softmax(X_l[:d]))),  KL over coordinates"
    )
    source: ClassVar[str] = "Starbucks, arXiv 2410.13230; ielab/Starbucks, sts/starbucks_loss.py at 6cc89d2d"

    # by default the six widest widths against layers spread to the last: at 12 layers and width 768, the published sizes
    sizes: Literal["default"] | tuple[Checkpoint, ...] = "default"
    kl_weight: Weight = 0.3
    detach: bool = False

    def resolved(self, nesting: Nesting) -> "Starbucks":
        """See `Term.resolved`: the sizes as numbers."""
        sizes = self._sizes(nesting)
        check_rising("sizes", sizes, nesting.shape)
        whole = (nesting.shape.width, nesting.shape.depth)
        if not sizes or sizes[-1] != whole:
            what = f"the last size is {sizes[-1] if sizes else 'missing'}, the whole model is {whole}"
            raise UserError("sizes", what, "list (dim, layer) from the smallest to the whole model")
        return super().resolved(nesting).model_copy(update={"sizes": sizes})

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`."""
        return tuple(sorted({layer for _, layer in self._sizes(nesting)}))

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        read = {layer: states.embedding(layer) for layer in self.layers(nesting)}
        task = partial(self.task_values, states)
        return starbucks(read, self._sizes(nesting), task, self.kl_weight, detach=self.detach)

    def _sizes(self, nesting: Nesting) -> tuple[tuple[int, int], ...]:
        if self.sizes == "default":
            return default_chain(nesting.shape.depth, nesting.dims[-SIZES:])
        return self.sizes
