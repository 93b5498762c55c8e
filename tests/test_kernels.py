"""The CPU's own dropout and attention against torch's."""

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mipic_bench import backbones
from mipic_bench.backbones.kernels import ATTENTION, Dropout, attention, kept


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_dropout_drops_with_its_probability_and_keeps_the_mean(p):
    torch.manual_seed(0)
    factors = kept(torch.empty(3, 333, 1001), p)
    assert factors.unique().numel() == (1 if p in (0, 1) else 2)
    assert float((factors == 0).float().mean()) == pytest.approx(p, abs=4e-3)
    assert float(factors.mean()) == pytest.approx(float(p < 1), abs=0.1)


def test_every_coordinate_is_dropped_on_its_own():
    torch.manual_seed(0)
    lost = (kept(torch.empty(40_000, 8), 0.3) == 0).float()
    assert torch.allclose(lost.mean(0), torch.tensor(0.3), atol=0.012)
    assert torch.allclose(torch.corrcoef(lost.T), torch.eye(8), atol=0.025)


def test_dropout_is_one_seeds_and_does_nothing_when_scoring():
    layer, x = Dropout(0.1), torch.randn(7, 9)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    assert torch.equal(layer.eval()(x), x)


class Attending(nn.Module):
    is_causal = False


def inputs(dtype, tokens=11):
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 4, tokens, 8, dtype=dtype, requires_grad=True) for _ in range(3))
    mask = torch.ones(3, 1, tokens, tokens, dtype=torch.bool)
    mask[1, :, :, 6:] = False
    return query, key, value, mask


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_attention_is_torchs(dropout, masked):
    """A dropout that never drops takes the way of training."""
    found = []
    for function, p in ((attention, dropout), (sdpa_attention_forward, 0.0)):
        *tensors, mask = inputs(torch.float32)
        out, _ = function(Attending(), *tensors, mask if masked else None, dropout=p, scaling=0.3)
        out.square().sum().backward()
        found.append([out, *(tensor.grad for tensor in tensors)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=2e-5)


def test_a_token_that_sees_nothing_is_finite():
    *tensors, mask = inputs(torch.float32)
    mask[1, :, 8:] = False  # padding, further from every token than a sliding window reaches
    out, _ = attention(Attending(), *tensors, mask, dropout=1e-9)
    out[mask.any(-1).squeeze(1)].square().sum().backward()
    assert out.isfinite().all() and all(tensor.grad.isfinite().all() for tensor in tensors)
    exact, _ = sdpa_attention_forward(Attending(), *tensors, mask)
    torch.testing.assert_close(out[1, :8], exact[1, :8], atol=2e-6, rtol=2e-5)


def test_bfloat16_is_attended_in_float32():
    *tensors, mask = inputs(torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out, _ = attention(Attending(), *tensors, mask)
    exact, _ = sdpa_attention_forward(Attending(), *(tensor.detach().double() for tensor in tensors), mask)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, exact.bfloat16(), atol=2e-2, rtol=8e-3)


def test_attention_weights_are_dropped():
    *tensors, mask = inputs(torch.float32)
    outs = torch.stack([attention(Attending(), *tensors, mask, dropout=0.2)[0].detach() for _ in range(4000)])
    whole = attention(Attending(), *tensors, mask)[0].detach()
    assert float((outs.mean(0) - whole).abs().max()) < 6 * float(outs.std(0).max()) / 4000**0.5
    assert float(outs.std(0).min()) > 0


def test_a_causal_layer_stays_torchs():
    *tensors, _ = inputs(torch.float32)
    layer = Attending()
    layer.is_causal = True
    out, _ = attention(layer, *tensors, None)
    assert torch.equal(out, sdpa_attention_forward(layer, *tensors, None)[0])
    assert not torch.allclose(out, attention(Attending(), *tensors, None)[0])


def test_backbones_use_them():
    model = backbones.load("tiny").model
    assert model.config._attn_implementation == ATTENTION
    assert {type(module) for module in model.modules() if isinstance(module, nn.Dropout)} == {Dropout}


def test_a_saved_model_names_no_kernel_of_ours(tmp_path):
    backbones.load("tiny").model.save_pretrained(tmp_path)
    assert ATTENTION not in (tmp_path / "config.json").read_text()
