"""Matryoshka-Adaptor: a small network beside frozen embeddings that makes their prefixes keep the similarities of the whole."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from mipic_bench.objectives import nested_cosines
from mipic_bench.objectives._term import linear
from mipic_bench.posthoc._transform import Affine, Fitted, Transform, finite
from mipic_bench.registry import lazy
from mipic_bench.settings import Count, Positive, Several, Weight

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

CHECK_EVERY = 50  # iterations between two looks at the held-out texts
HELD_OUT = 512  # of them, at most


def adaptor_loss(
    frozen: "torch.Tensor",
    adapted: "torch.Tensor",
    dims: Sequence[int],
    k: int,
    pair_weight: float = 1.0,
    change_weight: float = 1.0,
) -> "torch.Tensor":
    """Return L_topk + alpha L_pair + beta L_rec of arXiv 2407.20243, the unsupervised objective.

    L_pair is the mean over widths m and pairs i != j of |cos(e_i, e_j) - cos(e'_i[:m], e'_j[:m])|, L_topk the same over the k nearest j
    of each i by the frozen embeddings, L_rec the mean of |e' - e|. The paper writes sums.

    Args:
        frozen: (batch, dim) e. adapted: (batch, dim) e' = e + f(e).
        dims: rising widths m.
        k: neighbors of L_topk.
        pair_weight, change_weight: alpha, beta.

    Returns:
        A scalar.
    """
    batch, width = frozen.shape
    before = nested_cosines(frozen, frozen, (width,))[0]
    gaps = (before - nested_cosines(adapted, adapted, dims)).abs()
    itself = torch.eye(batch, dtype=torch.bool, device=frozen.device)
    nearest = before.masked_fill(itself, -2).topk(min(k, batch - 1), dim=1).indices
    near = gaps.gather(2, nearest.expand(len(dims), -1, -1)).mean()
    return near + pair_weight * gaps[:, ~itself].mean() + change_weight * (adapted - frozen).abs().mean()


@dataclass(frozen=True, eq=False)
class Adapted(Fitted):
    """x -> x + f(scale x) / scale, f a network with one hidden layer.

    Args:
        scale: one number. inner, inner_bias: (hidden, D), (hidden,). outer, outer_bias: (D, hidden), (D,).
        history: losses on the held-out texts.
    """

    scale: np.ndarray
    inner: np.ndarray
    inner_bias: np.ndarray
    outer: np.ndarray
    outer_bias: np.ndarray
    history: tuple[float, ...] = ()

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """See `Fitted.apply`."""
        inside = np.maximum((vectors * self.scale) @ self.inner.T + self.inner_bias, 0)
        return np.asarray(vectors + (inside @ self.outer.T + self.outer_bias) / self.scale, dtype=np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Fitted.arrays`."""
        return {name: value for name, value in vars(self).items() if name != "history"}

    def affine_maps(self, width: int, dim: int) -> list[Affine]:
        """See `Fitted.affine_maps`: two, and x gets past the ReLU of the first as relu(x) - relu(-x)."""
        eye = np.eye(width, dtype=np.float32)
        first = np.concatenate([self.inner * self.scale, eye, -eye])
        bias = np.concatenate([self.inner_bias, np.zeros(2 * width, dtype=np.float32)])
        second = np.concatenate([self.outer / self.scale, eye, -eye], axis=1)[:dim]
        return [
            Affine(first.astype(np.float32), bias, relu=True),
            Affine(np.ascontiguousarray(second, dtype=np.float32), (self.outer_bias / self.scale)[:dim]),
        ]


class Adaptor(Transform):
    """A residual network on frozen embeddings, trained without labels to keep similarities at every width."""

    formula: ClassVar[str] = (
        "e' = e + f(e);  L_topk + alpha L_pair + beta L_rec,  L_pair = mean |cos(e_i, e_j) - cos(e'_i[:m], e'_j[:m])|,  L_rec = mean |f(e)|"
    )
    source: ClassVar[str] = (
        "Matryoshka-Adaptor, arXiv 2407.20243, the unsupervised stage; ours: means for its sums, k, the hidden width D, an output layer "
        "that starts at zero, vectors scaled to a mean norm of 1, a held-out tenth for its patience"
    )
    fitted: ClassVar[type[Fitted]] = Adapted

    k: Count = 10
    pair_weight: Weight = 1.0
    change_weight: Weight = 1.0
    learning_rate: Positive = 1e-3
    batch_size: Several = 128
    iterations: Count = 5000  # at most
    patience: Count = 500  # iterations without a better held-out loss

    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> Adapted:
        """See `Transform.fit`."""
        generator = torch.Generator().manual_seed(seed)
        scale = np.float32(1 / max(float(np.linalg.norm(finite(vectors), axis=1).mean()), 1e-12))
        rows = torch.from_numpy(vectors * scale)[torch.randperm(len(vectors), generator=generator)]
        held = rows[: min(max(2, len(rows) // 10), HELD_OUT)]
        kept = rows[len(held) :] if len(rows) - len(held) >= 2 else rows
        width = rows.shape[1]
        network = torch.nn.Sequential(
            linear(width, width, generator, bias=True), torch.nn.ReLU(), linear(width, width, generator, bias=True)
        )
        first, _, last = cast("Any", network)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        history = self._train(network, kept, held, dims, generator)
        inner, outer = ((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (first, last))
        return Adapted(np.asarray(scale), *inner, *outer, history)

    def _train(
        self,
        network: "torch.nn.Module",
        kept: "torch.Tensor",
        held: "torch.Tensor",
        dims: Sequence[int],
        generator: "torch.Generator",
    ) -> tuple[float, ...]:
        """Train until the held-out loss stands still; leave the best weights in the network."""

        def loss(rows: "torch.Tensor") -> "torch.Tensor":
            return adaptor_loss(rows, rows + network(rows), dims, self.k, self.pair_weight, self.change_weight)

        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        with torch.no_grad():
            history = [float(loss(held))]
        best, best_at, weights = history[0], 0, deepcopy(network.state_dict())
        for step in range(1, self.iterations + 1):
            chosen = torch.randint(len(kept), (min(self.batch_size, len(kept)),), generator=generator)
            optimizer.zero_grad()
            torch.autograd.backward(loss(kept[chosen]))
            optimizer.step()
            if step % CHECK_EVERY and step != self.iterations:
                continue
            with torch.no_grad():
                history.append(float(loss(held)))
            if history[-1] < best:
                best, best_at, weights = history[-1], step, deepcopy(network.state_dict())
            if step - best_at >= self.patience:
                break
        network.load_state_dict(weights)
        return tuple(history)
