"""How far one read-out is from another when both are turned into distributions over their coordinates."""

from typing import TYPE_CHECKING

from mipic_bench.objectives._term import wide
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import torch
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
        student, teacher = map(wide, (student, teacher))
        target = (teacher.detach() if detach else teacher).div(temperature).log_softmax(1)
        found = student.div(temperature).log_softmax(1)
        return torch.nn.functional.kl_div(found, target, reduction="batchmean", log_target=True)
