"""Find out how an unlisted architecture is built by running it once on six tokens."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mipic_bench.backbones.architectures import Architecture
from mipic_bench.backbones.model import catching, only
from mipic_bench.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def probe(model: "PreTrainedModel", name: str) -> Architecture:
    """Return where a model keeps its blocks and last norm, and whether it is causal, from what it computes.

    The list of blocks is the one with as many modules as the configuration counts layers. The last norm is the module that
    turns the last block's output into the model's, and the first block's too when that block runs alone. The model is causal
    when a token does not change with those behind it.

    Raises:
        UserError: no such list, or the model's output comes from its blocks in no way known here.
    """
    depth, kind = int(model.config.num_hidden_layers), model.config.model_type
    lists = [path for path, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    for path in sorted(lists, key=len):
        written, last = _run(model, path)
        norm = _norm_between(model, written.get(depth), last)
        if norm is None:
            continue
        causal = bool(torch.allclose(last[0, 0], last[1, 0], atol=1e-6))
        found = Architecture((kind,), path, norm, causal)
        with only(model, found, 1):
            _, alone = _run(model, path)
        if _norm_between(model, written.get(1), alone) == norm:
            return found
    raise UserError(
        f"backbone {name}",
        f"the layers of a {kind} are not found: {depth} blocks in a row, then at most one norm, are understood",
        "take another architecture, or add its facts to mipic_bench/backbones/architectures.py",
    )


def _run(model: "PreTrainedModel", path: str) -> tuple[dict[int, Tensor], Tensor]:
    """Return what each block wrote, and what the model returned, for two rows that differ behind their first token."""
    blocks = model.get_submodule(path)
    assert isinstance(blocks, nn.ModuleList)
    first, second, third = (int(model.config.vocab_size * share) for share in (0.3, 0.5, 0.7))
    ids = torch.tensor([[first, second, third], [first, third, second]])
    caught: dict[int, Tensor] = {}
    with catching(blocks, range(1, len(blocks) + 1), caught):
        last: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    return caught, last


def _norm_between(model: "PreTrainedModel", written: Tensor | None, last: Tensor) -> str | None:
    """Return the path of the norm that leads from one tensor to the other, "" when they are equal, None when there is none."""
    if written is None:
        return None
    if torch.equal(written, last):
        return ""
    for path, module in model.named_modules():
        if "norm" in type(module).__name__.lower() and path.count(".") <= 1:
            weight = getattr(module, "weight", None)
            if (
                weight is not None
                and weight.shape == last.shape[-1:]
                and torch.allclose(module(written), last, atol=1e-6)
            ):
                return str(path)
    return None
