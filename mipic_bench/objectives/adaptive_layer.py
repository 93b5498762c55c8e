"""Adaptive layers, and their 2D form: the last layer and a drawn earlier one, as sentence-transformers trains them."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.errors import UserError
from mipic_bench.objectives._divergence import coordinate_kl
from mipic_bench.objectives._task import Task, TaskTerm
from mipic_bench.objectives._term import Nesting
from mipic_bench.registry import lazy
from mipic_bench.settings import Count, Weight

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

Sampled = Literal["all"] | Count
Weighting = Literal["uniform", "linear", "log", "inverse"]


def layer_weight(weighting: Weighting, layer: int) -> float:
    """Return the weight of a drawn layer k (0: the embedding output).

    uniform 1, linear 1 / (1 + k) and log 1 / (1 + ln(1 + k)) are those of sentence-transformers 6.2; inverse 1 / k is what it did before.
    """
    if weighting == "uniform":
        return 1.0
    if weighting == "inverse":
        return 1 / layer
    return 1 / (1 + (layer if weighting == "linear" else math.log(1 + layer)))


def adaptive_layer(
    last: "torch.Tensor",
    early: Sequence["torch.Tensor"],
    task: Task,
    last_dims: Sequence[int],
    early_dims: Sequence[Sequence[int]],
    weights: Sequence[float],
    *,
    last_weight: float = 1.0,
    prior_weight: float = 1.0,
    kl_weight: float = 1.0,
    kl_temperature: float = 0.3,
    detach: bool = True,
) -> "torch.Tensor":
    """Return sentence-transformers' AdaptiveLayerLoss around its MatryoshkaLoss, for the layers and widths that were drawn.

    last_weight task(X_N) + sum_k (prior_weight w_k task(X_k) / (layers drawn) + kl_weight T KL(softmax(X_N / T) || softmax(X_k / T))),
    each task summed over its widths, the divergence over coordinates at full width and not divided.

    Args:
        last: (row, dim) read-out of the last layer. early: the same of each drawn layer.
        task: the task loss of such rows at some widths.
        last_dims: widths of the last layer. early_dims: widths of each drawn layer.
        weights: w_k of each drawn layer.
        last_weight, prior_weight, kl_weight: of the three parts.
        kl_temperature: T; 0 leaves the divergence out.
        detach: whether the last layer is a constant in the divergence.

    Returns:
        A scalar.
    """
    total = last_weight * task(last, last_dims).sum()
    for rows, dims, weight in zip(early, early_dims, weights, strict=True):
        total = total + prior_weight * weight * task(rows, dims).sum() / len(early)
        if kl_temperature > 0:
            divergence = coordinate_kl(rows, last, kl_temperature, detach=detach)
            total = total + kl_weight * kl_temperature * divergence
    return total


class AdaptiveLayer(TaskTerm):
    """The last layer and drawn earlier layers, each at drawn widths, and the earlier ones aligned to the last."""

    formula: ClassVar[str] = (
        "task(X_N[:m]) + sum_k (w_k task(X_k[:m_k]) / (layers drawn) + T KL(softmax(X_N / T) || softmax(X_k / T))),  "
        "layers and widths drawn anew each step, KL over coordinates at full width"
    )
    source: ClassVar[str] = (
        "sentence-transformers 6.2, AdaptiveLayerLoss and Matryoshka2dLoss; with embedding_output false, detach false and inverse weights "
        "those of before mid-2026 (its pull requests 3880 and 3901)"
    )

    embedding_output: bool = True
    layer_weights: Weighting = "uniform"
    sampled_layers: Sampled = 1
    sampled_dims: Sampled = 1
    last_weight: Weight = 1.0
    prior_weight: Weight = 1.0
    kl_weight: Weight = 1.0
    kl_temperature: Weight = 0.3
    detach: bool = True

    def resolved(self, nesting: Nesting) -> "AdaptiveLayer":
        """See `Term.resolved`."""
        candidates = len(self._candidates(nesting))
        if not candidates:
            what = f"depth {nesting.shape.depth} leaves no earlier layer to draw"
            raise UserError("sampled_layers", what, "use a backbone of two layers or more")
        for key, wanted, most in (
            ("sampled_layers", self.sampled_layers, candidates),
            ("sampled_dims", self.sampled_dims, len(nesting.dims)),
        ):
            if wanted != "all" and wanted > most:
                raise UserError(key, f"{wanted} are to be drawn of {most}", f'use 1..{most} or "all"')
        if self.layer_weights == "inverse" and self.embedding_output:
            what = "weight 1 / k has no value for the embedding output (k = 0)"
            raise UserError("layer_weights", what, "set embedding_output = false")
        return super().resolved(nesting)

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: any may be drawn."""
        return (*self._candidates(nesting), nesting.shape.depth)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        draw = states.generator()
        drawn = sample(self._candidates(nesting), self.sampled_layers, draw)
        last_dims, *early_dims = [sample(nesting.dims, self.sampled_dims, draw) for _ in range(1 + len(drawn))]
        return adaptive_layer(
            states.embedding(nesting.shape.depth),
            [states.embedding(layer) for layer in drawn],
            partial(self.task_values, states),
            last_dims,
            early_dims,
            [layer_weight(self.layer_weights, layer) for layer in drawn],
            last_weight=self.last_weight,
            prior_weight=self.prior_weight,
            kl_weight=self.kl_weight,
            kl_temperature=self.kl_temperature,
            detach=self.detach,
        )

    def _candidates(self, nesting: Nesting) -> tuple[int, ...]:
        return tuple(range(0 if self.embedding_output else 1, nesting.shape.depth))


def sample(values: Sequence[int], count: Sampled, generator: "torch.Generator") -> tuple[int, ...]:
    """Return `count` of the values without repetition, or all, in their order."""
    if count == "all":
        return tuple(values)
    return tuple(values[place] for place in sorted(torch.randperm(len(values), generator=generator)[:count].tolist()))
