"""A learned rotation: the coordinate system in which every prefix tells texts apart as the full width does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mipic_bench.objectives import nested_cosines
from mipic_bench.posthoc._transform import Fitted, LinearMap, Transform, finite
from mipic_bench.posthoc.pca import PCA
from mipic_bench.registry import lazy
from mipic_bench.settings import Count, Positive, Several

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


def neighbor_loss(
    whole: "torch.Tensor", turned: "torch.Tensor", dims: Sequence[int], temperature: float
) -> "torch.Tensor":
    """Return, per prefix, mean_i CE(p_i, q_i): p_i the softmax over j of cos(x_i, x_j) / temperature at full width, a constant,
    q_i that of the turned vectors' first coordinates.

    A text is among its own candidates: its cosine of 1 is what the others are told apart from, so a prefix is also asked to spread
    the texts as far as the full width does.

    Args:
        whole: (batch, D). turned: (batch, D). dims: rising widths.
        temperature: of both softmaxes.

    Returns:
        (len(dims),) in float32 (float64 for float64 input).
    """
    aim = (nested_cosines(whole, whole, (whole.shape[1],))[0] / temperature).softmax(1)
    found = (nested_cosines(turned, turned, dims) / temperature).log_softmax(2)
    return -(aim.detach() * found).sum(2).mean(1)


@dataclass(frozen=True, eq=False)
class Turned(LinearMap):
    """x -> x R, and the losses on the way to R."""

    history: tuple[float, ...] = ()


class Rotation(Transform):
    """An orthogonal map, learned on frozen vectors so that every prefix sees the neighbors that the full width sees; similarities
    at full width stay what they were.
    """

    formula: ClassVar[str] = (
        "x R,  R = argmin over orthogonal R of mean over widths d and texts i of CE(softmax_j cos(x_i, x_j) / tau, "
        "softmax_j cos((x_i R)[:d], (x_j R)[:d]) / tau)"
    )
    source: ClassVar[str] = (
        "ours; SDR-MRL's idea (neighbors recoverable from prefixes) for a map that cannot harm the full width"
    )
    fitted: ClassVar[type[Fitted]] = Turned

    temperature: Positive = 0.1
    batch_size: Several = 512
    iterations: Count = 500
    learning_rate: Positive = 5e-3  # of Adam, falling to zero as a cosine

    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> Turned:
        """See `Transform.fit`: from the principal axes on, by Adam on the Cayley form of a rotation."""
        generator = torch.Generator().manual_seed(seed)
        width = vectors.shape[1]
        units = _unit(finite(vectors))
        start = torch.from_numpy(PCA(center=False).fit(units, dims, seed).matrix)
        rows = torch.from_numpy(units)
        narrow = [dim for dim in dims if dim < width]
        skew = torch.zeros(width, width, requires_grad=True)
        optimizer = torch.optim.Adam([skew], lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.iterations)
        history: list[float] = []
        for _ in range(self.iterations if narrow else 0):
            chosen = rows[torch.randint(len(rows), (min(self.batch_size, len(rows)),), generator=generator)]
            loss = neighbor_loss(chosen, chosen @ (start @ _rotation(skew)), narrow, self.temperature).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            history.append(float(loss.detach()))
        with torch.no_grad():
            matrix = (start.double() @ _rotation(skew.double())).numpy()
        return Turned(np.zeros(width, np.float32), matrix.astype(np.float32), tuple(history))


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _rotation(skew: "torch.Tensor") -> "torch.Tensor":
    """Return Cayley's (I + A)^-1 (I - A), A the antisymmetric part: orthogonal whatever the numbers, the identity at zero."""
    turn = skew - skew.T
    one = torch.eye(len(skew), dtype=skew.dtype)
    found: torch.Tensor = torch.linalg.solve(one + turn, one - turn)
    return found
