"""SDR-MRL: the neighbors that the full width sees in a batch must be recoverable from every prefix."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from mipic_bench.errors import UserError
from mipic_bench.objectives._task import nested_cosines
from mipic_bench.objectives._term import Nesting, Term
from mipic_bench.registry import lazy
from mipic_bench.settings import Positive, Weight, Whole

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

Divergence = Literal["forward", "reverse", "js"]
LOW, HIGH = 0.01, 1.0  # the learned temperatures stay within


def distortion(
    student: "torch.Tensor",
    teacher: "torch.Tensor",
    dims: Sequence[int],
    teacher_temperature: float,
    temperatures: "torch.Tensor",
    past: "torch.Tensor | None" = None,
    past_teacher: "torch.Tensor | None" = None,
    divergence: Divergence = "forward",
) -> "torch.Tensor":
    """Return D_k = mean_i KL(p_T(. | x_i) || q_k(. | z_i)) of each prefix; SDR-MRL Eq 22-27.

    p_T is the softmax of the teacher's cosines to the other rows (and to past ones) over tau_T, a constant; q_k that of the student's
    first d_k coordinates over tau_k.

    Args:
        student: (batch, dim). teacher: (batch, any width).
        dims: rising widths of the prefixes.
        teacher_temperature: tau_T. temperatures: (len(dims),) tau_k.
        past, past_teacher: earlier rows of both, candidates without a gradient; past_teacher None: the same as past.
        divergence: "forward" KL(p_T || q_k), "reverse" KL(q_k || p_T), or their Jensen-Shannon mean "js".

    Returns:
        (len(dims),) in float32 (float64 for float64 input).
    """
    reference = teacher.detach()
    if past is not None:
        reference = torch.cat([reference, past if past_teacher is None else past_teacher])
    candidates = student if past is None else torch.cat([student, past.to(student.dtype)])
    seen = nested_cosines(teacher.detach(), reference.to(teacher.dtype), (teacher.shape[1],)) / teacher_temperature
    found = nested_cosines(student, candidates, dims) / temperatures.view(-1, 1, 1)
    log_p, log_q = (_others(x).log_softmax(2) for x in (seen, found))
    if divergence == "forward":
        return _kl(log_p, log_q)
    if divergence == "reverse":
        return _kl(log_q, log_p)
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    return (_kl(log_p, middle) + _kl(log_q, middle)) / 2


def _others(scores: "torch.Tensor") -> "torch.Tensor":
    """Take each row's own column out: (width, batch, batch + past) -> one column less."""
    width, batch, count = scores.shape
    kept = ~torch.eye(batch, count, dtype=torch.bool, device=scores.device)
    return scores[:, kept].view(width, batch, count - 1)


def _kl(left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
    """Return KL(left || right) of log-probabilities (width, batch, candidate), mean over the batch."""
    return (left.exp() * (left - right)).sum(2).mean(1)


class SDR(Term):
    """Semantic distortion of every truncated prefix against the full width, with temperatures that are learned."""

    formula: ClassVar[str] = (
        "mean_k D_k + lambda_mono sum_k max(0, D_k - sg(D_(k-1))),  D_k = mean_i KL(softmax_j(cos(z_i, z_j) / tau_T) || "
        "softmax_j(cos(z_i[:d_k], z_j[:d_k]) / tau_k))"
    )
    source: ClassVar[str] = (
        "SDR-MRL; duncan-nguyen/embedding-mrl, losses/sdr.py and trainers/sdr.py at 8f4d8523 (Eq 22-27, 48, 54, 55)"
    )

    monotone_weight: Weight = 0.0  # lambda_mono
    teacher: Literal["online", "frozen"] = "online"  # the full width itself, or the backbone as it was before training
    teacher_temperature: Positive | None = None
    learn_temperatures: bool = True
    divergence: Divergence = "forward"
    queue: Annotated[Whole, Field(ge=0)] = 4096  # past rows that serve as candidates

    @property
    def needs_teacher(self) -> bool:
        """See `Term.needs_teacher`."""
        return self.teacher == "frozen"

    def resolved(self, nesting: Nesting) -> "SDR":
        """See `Term.resolved`; the temperatures start within the range that they are kept in."""
        found = super().resolved(nesting)
        assert found.temperature is not None
        if not LOW <= found.temperature <= HIGH:
            what = (
                f"{found.temperature:g} is outside {LOW:g} to {HIGH:g}, where the temperatures of the prefixes are kept"
            )
            raise UserError("temperature", what, f"use {LOW:g} to {HIGH:g}; teacher_temperature is free")
        return found

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`: the last one."""
        return (nesting.shape.depth,)

    def heads(self, nesting: Nesting, generator: "torch.Generator") -> "torch.nn.Module | None":
        """The learned temperatures (as logarithms of tau_k / tau) and the queue of past rows."""
        heads = torch.nn.Module()
        heads.change = torch.nn.Parameter(torch.zeros(len(nesting.truncated)), requires_grad=self.learn_temperatures)
        rows = torch.zeros(self.queue, nesting.shape.width)
        heads.register_buffer("past", rows)
        heads.register_buffer("past_teacher", rows.clone() if self.needs_teacher else None)
        heads.register_buffer("count", torch.zeros((), dtype=torch.long))
        return heads

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`; per view, averaged over the views. In training the rows join the queue afterwards."""
        assert self.temperature is not None
        if not nesting.truncated:
            return states.mask.new_zeros((), dtype=torch.float32)
        trained = cast("Any", heads)
        rows = states.embedding(nesting.shape.depth)
        teacher = rows if states.teacher is None or not self.needs_teacher else states.teacher
        temperatures = (math.log(self.temperature) + trained.change).clamp(math.log(LOW), math.log(HIGH)).exp()
        tau = self.teacher_temperature or self.temperature
        past = _filled(trained.past, trained.count), _filled(trained.past_teacher, trained.count)
        total = rows.new_zeros((), dtype=torch.float32)
        for view, aim in zip(states.split(rows), states.split(teacher), strict=True):
            values = distortion(view, aim, nesting.truncated, tau, temperatures, *past, divergence=self.divergence)
            rises = (values[1:] - values[:-1].detach()).clamp(min=0).sum()
            total = total + (values.mean() + self.monotone_weight * rises) / states.parts
        if self.queue and trained.training:
            self._remember(trained, rows, teacher)
        return total

    def _remember(self, heads: Any, rows: "torch.Tensor", teacher: "torch.Tensor") -> None:
        """Write the rows of a batch over the oldest of the queue."""
        for queue, new in ((heads.past, rows), (heads.past_teacher, teacher)):
            if queue is not None:
                latest = new.detach()[-self.queue :].to(queue.dtype)
                queue[(heads.count + torch.arange(len(latest), device=queue.device)) % self.queue] = latest
        heads.count += min(len(rows), self.queue)


def _filled(queue: "torch.Tensor | None", count: "torch.Tensor") -> "torch.Tensor | None":
    """Return the part of a queue that holds rows, if any; a copy, for the queue is written to before the backward pass."""
    return None if queue is None or not count else queue[: int(count)].clone()
