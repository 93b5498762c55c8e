"""Dropout and attention for the CPU, where torch's own spend a quarter of a small encoder's step.

Torch draws one number of its generator per dropped coordinate, one after the other; sixteen bits of it are enough. Attention
of short texts is faster, and exacter, in float32 than through the bfloat16 kernel that is made for long ones. On a card torch's
own kernels stay in place.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "short_text_cpu"
_CHANCES = 2**16


class Dropout(nn.Dropout):
    """`nn.Dropout`, four coordinates per number drawn from torch's global generator on the CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop coordinates while training. input: any shape."""
        if not self.training or self.p == 0 or self.inplace or input.device.type != "cpu":
            return super().forward(input)
        return input * kept(input, self.p)


def kept(like: Tensor, p: float) -> Tensor:
    """Return what dropout multiplies by: 0 with probability p, else 1 / (1 - p); p is rounded to a multiple of 2^-16.

    Args:
        like: gives shape and dtype.
        p: in 0..1.
    """
    dropped = round(p * _CHANCES)
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    chances = words.view(torch.int16)[: like.numel()].view(like.shape)  # -2^15 .. 2^15 - 1
    scale = _CHANCES / (_CHANCES - dropped) if dropped < _CHANCES else 0.0
    return (chances >= dropped - _CHANCES // 2).to(like.dtype).mul_(scale)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend, as transformers asks an attention function to.

    Args:
        module: the attention layer.
        query, key, value: (row, head, token, head dim).
        attention_mask: None, or True where a token may be seen, (row, 1, token, token).
        dropout: of the attention weights.
        scaling: of the scores; 1 / sqrt(head dim) if None.
        more: what other attention functions of transformers take.

    Returns:
        (row, token, head, head dim), and no weights.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    given: dict[str, Any] = {"dropout": dropout, "scaling": scaling, **more}
    if query.device.type != "cpu" or query.dtype == torch.float64:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    dtype = query.dtype
    query, key, value = query.float(), key.float(), value.float()
    with torch.autocast("cpu", enabled=False):
        if dropout == 0 or not _plain(module, query, key, attention_mask, more):
            out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **given)
        else:
            scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
            if attention_mask is not None:
                # not -inf: a padded token that sees nothing would become NaN, and its text with it in the next layer
                scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
            weights = scores.softmax(-1)
            out = ((weights * kept(weights, dropout)) @ value).transpose(1, 2)
    return out.to(dtype), None


def _plain(module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, more: dict[str, Any]) -> bool:
    """Say whether this is the attention of an encoder with nothing special about it."""
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    special = any(more.get(name) is not None for name in ("position_bias", "softcap", "cache", "s_aux"))
    return not causal and not special and query.shape == key.shape and (mask is None or mask.dtype == torch.bool)


def install(model: "PreTrainedModel") -> None:
    """Let a model use the kernels of this file, where its architecture takes an attention function from outside."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout
    if model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.set_attn_implementation(ATTENTION)
