"""PIC: each shallow, narrow checkpoint predicts the next deeper, wider one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from mipic_bench.errors import UserError
from mipic_bench.objectives._term import Nesting, Reduction, Term, linear, wide
from mipic_bench.registry import lazy
from mipic_bench.settings import Count
from mipic_bench.shapes import Shape, default_chain

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States
else:
    torch = lazy("torch")

Checkpoint = tuple[Count, Count]
ChainRule = Literal["default", "thirds"]
Steps = Literal["all", "ends", "fixed-dim", "fixed-layer"]


def chain_info_nce(source: "torch.Tensor", target: "torch.Tensor", temperature: float) -> "torch.Tensor":
    """Return InfoNCE(source, target) with in-batch negatives: one link of MIPIC's chain (Eq 15-16).

    Args:
        source: (..., batch, dim), already projected to the target's width; leading axes are batches apart from each other.
        target: (..., batch, dim); whether it is detached is the caller's choice.
        temperature: divides the cosines.

    Returns:
        A scalar, mean over all batches; in float32 (float64 for float64 input).
    """
    with torch.autocast(source.device.type, enabled=False):
        source, target = (torch.nn.functional.normalize(wide(side), dim=-1) for side in (source, target))
        logits = source @ target.transpose(-1, -2) / temperature
        return (logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1)).mean()


def ruled_chain(rule: str, nesting: Nesting) -> tuple[tuple[int, int], ...]:
    """Return the checkpoints (dim, layer) of a rule.

    "default": the widest widths against layers spread to the last. "thirds": narrowest, middle and widest width at the blocks
    before one, two and three thirds of the depth, as in MIPIC's BERT and TinyBERT notebooks.
    """
    depth, dims = nesting.shape.depth, nesting.dims
    if rule == "default":
        return default_chain(depth, dims)
    chosen = (dims[0], dims[len(dims) // 2], dims[-1])
    chain = ((dim, max(1, third * depth // 3 - 1)) for third, dim in enumerate(chosen, start=1))
    return tuple(dict.fromkeys(chain))


def stepped(chain: Sequence[tuple[int, int]], steps: Steps, shape: Shape) -> tuple[tuple[int, int], ...]:
    """Return what is kept of a chain: "all", its "ends", or each step at one width or layer, so that one of both rises alone.

    "fixed-dim" puts every checkpoint at full width (depth alone), "fixed-layer" at the last layer (width alone).
    """
    if steps == "all":
        return tuple(chain)
    if steps == "ends":
        chain = (*chain[:1], *chain[-1:])
    elif steps == "fixed-dim":
        chain = [(shape.width, layer) for _, layer in chain]
    elif steps == "fixed-layer":
        chain = [(dim, shape.depth) for dim, _ in chain]
    return tuple(dict.fromkeys(chain))


def check_rising(where: str, chain: tuple[tuple[int, int], ...], shape: Shape) -> None:
    """Raise a `UserError` unless the (dim, layer) pairs rise and lie within the backbone."""
    for (dim, layer), (next_dim, next_layer) in pairwise(chain):
        if next_dim < dim or next_layer < layer or (next_dim, next_layer) == (dim, layer):
            what = f"{(next_dim, next_layer)} does not rise above {(dim, layer)}"
            raise UserError(where, what, "list (dim, layer) from narrow and shallow to wide and deep")
    dim, layer = max((dim for dim, _ in chain), default=0), max((layer for _, layer in chain), default=0)
    if dim > shape.width or layer > shape.depth:
        what = f"width {dim} or layer {layer} is above the backbone's {shape.width} or {shape.depth}"
        raise UserError(where, what, "use widths and layers that the backbone has")


class ChainInfoNCE(Term):
    """Progressive information chaining: a small MLP takes each (dim, layer) checkpoint to the next (PIC)."""

    version: ClassVar[int] = 2  # 2: the heads' start differs from seed to seed

    formula: ClassVar[str] = (
        "sum_t InfoNCE(phi_t(z_t), z_{t+1}),  z_t = readout of layer l_t cut to d_t,  phi_t = Linear-ReLU-Linear"
    )
    source: ClassVar[str] = (
        "MIPIC Eq 15-17, arXiv 2604.24374; phi's hidden width floor(max(d_t, d_t+1) / 2) and the stopped gradient of the target "
        "are the lab repository's; z is the backbone's own readout (the paper's is CLS)"
    )

    chain: ChainRule | tuple[Checkpoint, ...] = "default"
    steps: Annotated[Steps, Field(exclude=True)] = "all"  # resolved into the chain, which alone decides the training
    detach: bool = True
    reduction: Reduction = "sum"

    def resolved(self, nesting: Nesting) -> "ChainInfoNCE":
        """See `Term.resolved`: the checkpoints as numbers."""
        chain = self.checkpoints(nesting)
        check_rising("chain", chain, nesting.shape)
        return super().resolved(nesting).model_copy(update={"chain": chain, "steps": "all"})

    def checkpoints(self, nesting: Nesting) -> tuple[tuple[int, int], ...]:
        """Return (dim, layer) of each checkpoint, in order."""
        chain = ruled_chain(self.chain, nesting) if isinstance(self.chain, str) else self.chain
        return stepped(chain, self.steps, nesting.shape)

    def layers(self, nesting: Nesting) -> tuple[int, ...]:
        """See `Term.layers`."""
        return tuple(sorted({layer for _, layer in self.checkpoints(nesting)}))

    def heads(self, nesting: Nesting, generator: "torch.Generator") -> "torch.nn.Module | None":
        """One phi_t per link."""
        links = []
        for (dim, _), (next_dim, _) in pairwise(self.checkpoints(nesting)):
            width = max(dim, next_dim) // 2
            links.append(
                torch.nn.Sequential(
                    linear(dim, width, generator, bias=True),
                    torch.nn.ReLU(),
                    linear(width, next_dim, generator, bias=True),
                )
            )
        return torch.nn.ModuleList(links)

    def loss(self, states: "States", nesting: Nesting, heads: "torch.nn.Module | None") -> "torch.Tensor":
        """See `Term.loss`; within each view, averaged over the views."""
        assert self.temperature is not None and isinstance(heads, torch.nn.ModuleList)
        values = []
        for phi, ((dim, layer), (next_dim, next_layer)) in zip(heads, pairwise(self.checkpoints(nesting)), strict=True):
            first, target = states.cut(layer, dim), states.cut(next_layer, next_dim)
            if not torch.is_autocast_enabled(first.device.type):  # which casts by itself
                first = first.to(next(phi.parameters()).dtype)
            source = phi(first)
            target = target.detach() if self.detach else target
            views, aims = torch.stack(states.split(source)), torch.stack(states.split(target))
            values.append(chain_info_nce(views, aims, self.temperature))
        links = max(len(heads), 1)
        total = torch.stack(values).sum() if values else states.mask.new_zeros((), dtype=torch.float32)
        return total if self.reduction == "sum" else total / links
