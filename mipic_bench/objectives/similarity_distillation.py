"""Similarity-level self-distillation: prefixes and earlier layers keep the similarities of the full width between texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from mipic_bench.objectives._task import nested_cosines
from mipic_bench.objectives._term import LayerRule, LayerTerm, Nesting
from mipic_bench.objectives.sdr import distortion
from mipic_bench.registry import lazy
from mipic_bench.settings import Layers

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")


def similarity_gap(student: "torch.Tensor", teacher: "torch.Tensor", dims: Sequence[int]) -> "torch.Tensor":
    """Return, per prefix, the mean over pairs i != j of (cos(s_i[:d], s_j[:d]) - cos(t_i, t_j))^2; the teacher is a constant.

    Args:
        student: (batch, dim). teacher: (batch, any width). dims: rising widths.

    Returns:
        (len(dims),) in float32 (float64 for float64 input); 0 for one row, which has no pair.
    """
    teacher = teacher.detach()
    aim = nested_cosines(teacher, teacher, (teacher.shape[1],))
    gap = (nested_cosines(student, student, dims) - aim).square()
    others = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    return gap[:, others].sum(1) / max(int(others.sum()), 1)


class SimilarityDistillation(LayerTerm):
    """Pairwise similarities in the batch, carried from the full width (or the untrained backbone) to prefixes and layers."""

    formula: ClassVar[str] = (
        "mean over layers l and widths d of mean_(i != j) (cos(h_l,i[:d], h_l,j[:d]) - sg cos(t_i, t_j))^2,  t the last layer's full width "
        "or the untrained backbone's;  measure 'kl': KL of softmaxed similarities instead"
    )
    source: ClassVar[str] = (
        "ours; near to relational distillation (RKD, arXiv 1904.05068) and to SDR-MRL's variant gram_mse (Eq 105)"
    )

    layer_set: LayerRule | Layers = "last"
    teacher: Literal["online", "frozen"] = "online"
    measure: Literal["squared", "kl"] = "squared"

    @property
    def needs_teacher(self) -> bool:
        """See `Term.needs_teacher`."""
        return self.teacher == "frozen"

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: the chosen ones and the last."""
        return tuple(sorted({*super().layers(nesting), nesting.shape.depth}))

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`; within each view, averaged over views, layers and widths."""
        depth = nesting.shape.depth
        teacher = states.teacher if self.teacher == "frozen" else states.embedding(depth)
        assert teacher is not None
        values = []
        for layer in super().layers(nesting):
            # the full width of the last layer is its own teacher: nothing to learn there
            dims = nesting.truncated if layer == depth and self.teacher == "online" else nesting.dims
            views = zip(states.split(states.embedding(layer)), states.split(teacher), strict=True)
            values += [self._gap(view, aim, dims) for view, aim in views if dims]
        return torch.cat(values).mean() if values else states.mask.new_zeros((), dtype=torch.float32)

    def _gap(self, view: "torch.Tensor", teacher: "torch.Tensor", dims: Sequence[int]) -> "torch.Tensor":
        if self.measure == "squared":
            return similarity_gap(view, teacher, dims)
        assert self.temperature is not None
        temperatures = view.new_full((len(dims),), self.temperature, dtype=torch.float32)
        return distortion(view, teacher, dims, self.temperature, temperatures)
