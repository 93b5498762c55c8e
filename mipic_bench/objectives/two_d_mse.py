"""2DMSE: one shallower layer and one narrower width drawn at each step, trained beside the full model and aligned to it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from mipic_bench.errors import UserError
from mipic_bench.objectives._term import Nesting, Positive, Term, Weight
from mipic_bench.objectives.nested_info_nce import nested_info_nce
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def coordinate_kl(
    student: "torch.Tensor", teacher: "torch.Tensor", temperature: float = 1.0, *, detach: bool = False
) -> "torch.Tensor":
    """Return KL(softmax(teacher / T) || softmax(student / T)) over the coordinates of raw embeddings, mean over the rows.

    Args:
        student: (row, dim). teacher: (row, dim).
        temperature: T; no factor of it is applied.
        detach: whether the teacher is a constant.

    Returns:
        A scalar, float32 (float64 for float64 input).
    """
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = (x if x.dtype == torch.float64 else x.float() for x in (student, teacher))
        target = (teacher.detach() if detach else teacher).div(temperature).log_softmax(1)
        found = student.div(temperature).log_softmax(1)
        return torch.nn.functional.kl_div(found, target, reduction="batchmean", log_target=True)


def two_d_mse(
    last: "torch.Tensor",
    early: "torch.Tensor",
    dim: int,
    parts: int,
    temperature: float,
    kl_temperature: float = 1.0,
    weights: Sequence[float] = (1.0,) * 6,
) -> "torch.Tensor":
    """Return 2DMSE's six terms on one drawn layer and width, weighted and summed (arXiv 2402.14776 v1 and v3).

    w1 task(X_N) + w2 task(X_l) + w3 task(X_N[:m]) + w4 task(X_l[:m]) + T^2 (w5 KL(X_N || X_l) + w6 KL(X_N[:m] || X_l[:m])), the task
    InfoNCE, the divergence between softmaxes over coordinates, the last layer not detached.

    Args:
        last: (row, dim) embeddings of the last layer, rows = parts x batch. early: the same of the drawn layer.
        dim: the drawn width m, below the full one.
        parts: columns the rows hold: anchors, positives and, if 3, hard negatives.
        temperature: of InfoNCE.
        kl_temperature: T.
        weights: w1 to w6.

    Returns:
        A scalar.
    """

    def task(rows: "torch.Tensor") -> "torch.Tensor":
        anchors, positives, *negatives = rows.chunk(parts)
        hard = negatives[0] if negatives else None
        return nested_info_nce(anchors, positives, (dim, rows.shape[1]), temperature, hard)

    (last_narrow, last_full), (early_narrow, early_full) = task(last), task(early)
    aligned = [
        coordinate_kl(early[:, :d], last[:, :d], kl_temperature) * kl_temperature**2 for d in (last.shape[1], dim)
    ]
    values = torch.stack([last_full, early_full, last_narrow, early_narrow, *aligned])
    return (values * values.new_tensor(weights)).sum()


class TwoDMSE(Term):
    """2D Matryoshka: full and drawn layer, full and drawn width, four task losses and two alignments."""

    formula: ClassVar[str] = (
        "task(X_N) + task(X_l) + task(X_N[:m]) + task(X_l[:m]) + T^2 (KL(X_N || X_l) + KL(X_N[:m] || X_l[:m])),  "
        "l ~ U(1, N-1), m ~ U(dims below D), KL over softmaxed coordinates"
    )
    source: ClassVar[str] = (
        "2DMSE, arXiv 2402.14776 v1 and v3; the weighted sum as in arXiv 2406.01607 Eq 6-11; weights 1 and the factor T^2 from the "
        "authors' first code (AnglE at 74e5ba2)"
    )

    kl_temperature: Positive = 1.0
    weights: Annotated[tuple[Weight, ...], Field(min_length=6, max_length=6)] = (1.0,) * 6

    def resolved(self, nesting: Nesting) -> "TwoDMSE":
        """See `Term.resolved`."""
        if nesting.shape.depth < 2 or not nesting.truncated:
            what = f"depth {nesting.shape.depth} and widths {list(nesting.dims)} leave nothing shallower or narrower to draw"
            raise UserError("dims", what, "use a backbone of two layers or more and a width below the full one")
        return super().resolved(nesting)

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: any may be drawn."""
        return tuple(range(1, nesting.shape.depth + 1))

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`."""
        assert self.temperature is not None
        draw = states.generator()
        layer = 1 + int(torch.randint(nesting.shape.depth - 1, (), generator=draw))
        dim = nesting.truncated[int(torch.randint(len(nesting.truncated), (), generator=draw))]
        last, early = states.embedding(nesting.shape.depth), states.embedding(layer)
        return two_d_mse(last, early, dim, states.parts, self.temperature, self.kl_temperature, self.weights)
