"""The chain: its rules, and the sum of its links with phi and the stopped gradient."""

from itertools import pairwise

import pytest
import torch
from batches import NESTING, agree, heads, layers, states, term

from mipic_bench.errors import UserError
from mipic_bench.objectives import Nesting, chain_info_nce
from mipic_bench.shapes import Shape, default_dims


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(
    "rule",
    [
        {},
        *({"steps": steps} for steps in ("ends", "fixed-dim", "fixed-layer")),
        {"chain": "thirds"},
        {"chain": ((2, 1), (2, 3), (12, 4))},
    ],
)
def test_the_term_is_the_sum_of_its_links(rule, detach):
    given, own = layers(), term("chain_info_nce", detach=detach, **rule)
    trained = heads(own)
    expected = torch.zeros((), dtype=torch.float64)
    for phi, ((dim, layer), (next_dim, next_layer)) in zip(trained, pairwise(own.chain), strict=True):
        for view in (0, 1):
            target = given[next_layer][view][:, :next_dim]
            target = target.detach() if detach else target
            expected = expected + chain_info_nce(phi(given[layer][view][:, :dim]), target, 0.1) / 2
    found = own.loss(states(given), NESTING, trained)
    leaves = [column for layer in own.layers(NESTING) for column in given[layer]]
    agree(found, expected, [*leaves, *trained.parameters()])


@pytest.mark.parametrize(
    ("rule", "shape", "chain"),
    [
        ({}, (6, 384), ((16, 1), (32, 2), (64, 3), (128, 4), (256, 5), (384, 6))),
        ({"steps": "ends"}, (6, 384), ((16, 1), (384, 6))),
        ({"steps": "fixed-dim"}, (3, 384), ((384, 1), (384, 2), (384, 3))),
        ({"steps": "fixed-layer"}, (3, 384), ((128, 3), (256, 3), (384, 3))),
        ({"chain": "thirds"}, (12, 768), ((16, 3), (128, 7), (768, 11))),  # MIPIC's BERT notebook
        ({"chain": "thirds"}, (6, 768), ((16, 1), (128, 3), (768, 5))),  # its TinyBERT notebook
        ({"chain": ((8, 1), (16, 2), (384, 6)), "steps": "ends"}, (6, 384), ((8, 1), (384, 6))),
        ({"chain": (), "steps": "ends"}, (6, 384), ()),
    ],
)
def test_chains_by_rule(rule, shape, chain):
    found = term("chain_info_nce", Nesting(Shape(*shape), default_dims(shape[1]), 0.05), **rule)
    assert found.chain == chain and "steps" not in found.model_dump()  # the chain says it all


def test_the_mean_is_over_links_and_no_chain_is_nothing():
    given = states(layers())
    own = {r: term("chain_info_nce", reduction=r) for r in ("sum", "mean")}
    total, mean = (t.loss(given, NESTING, heads(t)) for t in own.values())
    torch.testing.assert_close(mean * 3, total)
    empty = term("chain_info_nce", chain=())
    assert empty.loss(given, NESTING, heads(empty)) == 0 and empty.layers(NESTING) == ()


@pytest.mark.parametrize(
    ("chain", "problem"),
    [
        (((6, 2), (3, 3)), r"chain: \(3, 3\) does not rise above \(6, 2\)"),
        (((3, 2), (3, 2)), "does not rise"),
        (((3, 2), (24, 9)), "width 24 or layer 9 is above the backbone's 12 or 4"),
    ],
)
def test_bad_chains_are_refused(chain, problem):
    with pytest.raises(UserError, match=problem):
        term("chain_info_nce", chain=chain)
