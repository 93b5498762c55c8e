"""SMEC: frozen embeddings compressed width by width, each stage freezing what the wider ones learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from mipic_bench.posthoc._transform import Fitted, Transform, finite
from mipic_bench.registry import lazy
from mipic_bench.settings import Count, Positive, Several

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

LOG_EVERY = 100


def chosen_dimensions(
    logits: "torch.Tensor", noise: "torch.Tensor", narrow: int, temperature: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return which coordinates are kept (in their order) and the gates on them: 1 in value, the softmax's in slope.

    Args:
        logits: (dim,), learned. noise: (dim,), Gumbel. narrow: coordinates kept. temperature: of the softmax.

    Returns:
        (narrow,) int64 and (narrow,).
    """
    shares = ((logits + noise) / temperature).softmax(0)
    kept = shares.topk(narrow).indices.sort().values
    return kept, 1 + shares[kept] - shares[kept].detach()


def memory_loss(
    frozen: "torch.Tensor", reached: "torch.Tensor", past: "torch.Tensor", past_reached: "torch.Tensor", k: int
) -> "torch.Tensor":
    """Return the mean over texts i and their k nearest j in memory of |cos(e_i, e_j) - cos(e'_i, e'_j)| (S-XBM).

    Args:
        frozen: (batch, D) e. reached: (batch, width) e'.
        past: (memory, D). past_reached: (memory, width), the same through today's projection.
        k: neighbors by the frozen embeddings.

    Returns:
        A scalar.
    """
    unit = torch.nn.functional.normalize
    before = unit(frozen) @ unit(past).T
    nearest = before.topk(min(k, len(past)), dim=1).indices
    after = unit(reached) @ unit(past_reached).T
    return (before - after).gather(1, nearest).abs().mean()


@dataclass(frozen=True, eq=False)
class Compressed(Fitted):
    """One linear map per width; a width is no prefix of the next.

    Args:
        maps: width -> (D, width).
        history: losses of every stage, one after the other.
    """

    nested: ClassVar[bool] = False

    maps: Mapping[int, np.ndarray]
    history: tuple[float, ...] = ()

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """See `Fitted.apply`: the widest width's vectors."""
        return self.at(vectors, max(self.maps))

    def at(self, vectors: np.ndarray, dim: int) -> np.ndarray:
        """See `Fitted.at`; a width that was not fitted is cut from the next wider one."""
        width = min(width for width in self.maps if width >= dim)
        return np.asarray(vectors @ self.maps[width][:, :dim], dtype=np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Fitted.arrays`."""
        return {f"map.{width}": matrix for width, matrix in self.maps.items()}

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """See `Fitted.restored`."""
        maps = {int(name.removeprefix("map.")): matrix for name, matrix in arrays.items()}
        return cls(dict(sorted(maps.items())))


class SMEC(Transform):
    """Sequential projections D -> ... -> narrowest on frozen embeddings, with learned choice of coordinates and a memory."""

    formula: ClassVar[str] = (
        "per stage w -> n: min L(x W) + L((x W)[kept n]),  then x <- (x W)[kept],  kept = Gumbel-softmax choice,  "
        "L = mean over the k nearest in memory of |cos(e_i, e_j) - cos(e'_i, e'_j)|"
    )
    source: ClassVar[str] = (
        "SMEC, arXiv 2510.12474 (EMNLP 2025): SMRL, ADS and S-XBM, unsupervised. Ours, for the paper's text was not at hand: the "
        "straight-through gates, the start at the identity, k, memory, iterations, rates. Not had: its supervised ranking loss"
    )
    version: ClassVar[int] = 2  # 2: a text does not meet itself in the memory
    fitted: ClassVar[type[Fitted]] = Compressed

    k: Count = 10
    memory: Count = 1024  # other texts that neighbors are looked up among; fewer where the corpus is small
    iterations: Count = 500  # of each stage
    learning_rate: Positive = 1e-3
    gate_rate: Positive = 3e-2  # of the logits that choose coordinates
    batch_size: Several = 128
    choose_dims: bool = True  # false: the first n coordinates are kept
    gate_temperature: Positive = 1.0

    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> Compressed:
        """See `Transform.fit`."""
        generator = torch.Generator().manual_seed(seed)
        frozen = torch.from_numpy(np.ascontiguousarray(finite(vectors)))
        widths = sorted({*dims, frozen.shape[1]}, reverse=True)
        so_far = torch.eye(frozen.shape[1])
        maps: dict[int, np.ndarray] = {}
        history: list[float] = []
        for narrow in widths[1:]:
            weight, kept, losses = self._stage(frozen, frozen @ so_far, narrow, generator)
            maps[so_far.shape[1]] = (so_far @ weight).numpy()
            so_far = so_far @ weight[:, kept]
            history += losses
        maps[so_far.shape[1]] = so_far.numpy()
        return Compressed(dict(sorted(maps.items())), tuple(history))

    def _stage(
        self, frozen: "torch.Tensor", reached: "torch.Tensor", narrow: int, generator: "torch.Generator"
    ) -> tuple["torch.Tensor", "torch.Tensor", list[float]]:
        """Train one square projection and the choice of its coordinates; return both and the losses."""
        width = reached.shape[1]
        weight = torch.eye(width).requires_grad_()
        # the first coordinates are a hair more likely at the start, so that a choice that learns nothing is plain cutting
        logits = torch.linspace(1e-3, 0, width).requires_grad_()
        groups = [{"params": [weight], "lr": self.learning_rate}, {"params": [logits], "lr": self.gate_rate}]
        optimizer = torch.optim.Adam(groups)
        batch = min(self.batch_size, len(frozen) // 2)
        losses = []
        for step in range(self.iterations):
            # no text twice: one that meets itself, or a copy in the memory, learns nothing from its nearest
            drawn = torch.randperm(len(frozen), generator=generator)[: batch + self.memory]
            now, past = drawn[:batch], drawn[batch:]
            kept, gates = torch.arange(narrow), torch.ones(narrow)
            if self.choose_dims:
                noise = -torch.log(-torch.log(torch.rand(width, generator=generator).clamp(1e-9, 1 - 1e-7)))
                kept, gates = chosen_dimensions(logits, noise, narrow, self.gate_temperature)
            here = reached[now] @ weight
            with torch.no_grad():  # the memory is looked up, not trained through
                there = reached[past] @ weight
            value = memory_loss(frozen[now], here, frozen[past], there, self.k)
            narrowed = here[:, kept] * gates
            value = value + memory_loss(frozen[now], narrowed, frozen[past], there[:, kept], self.k)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            if step % LOG_EVERY == 0 or step == self.iterations - 1:
                losses.append(float(value.detach()))
        final = logits.detach().topk(narrow).indices.sort().values if self.choose_dims else torch.arange(narrow)
        return weight.detach(), final, losses
