"""What a recipe may choose about the task loss: CoSENT, directions, equal texts, weights and sampling of widths."""

import itertools
import math

import loops_tasks
import pytest
import torch
from batches import DIMS, NESTING, WIDTH, agree, columns, layers, states, term

from mipic_bench.errors import UserError
from mipic_bench.objectives import nested_cosent, nested_cosines, nested_info_nce, topk_cka
from mipic_bench.objectives.nested_info_nce import log_weights


@pytest.mark.parametrize(
    "scores", [(0.1, 0.9, 0.5, 0.3), (1.0, 0.0, 1.0, 0.0), (0.0, 0.5, 0.5, 5.0), (2.0, 2.0, 2.0, 3.0)]
)
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_cosent_equals_the_loops(scores, temperature):
    given = columns()
    found = nested_cosent(*given, torch.tensor(scores, dtype=torch.float64), DIMS, temperature)
    loop = torch.stack([loops_tasks.cosent(loops_tasks.cut(given, d), scores, 1 / temperature) for d in DIMS])
    weights = torch.linspace(1, 2, len(DIMS), dtype=torch.float64)
    agree((found * weights).sum(), (loop * weights).sum(), given)


def test_cosent_of_equal_scores_is_zero_and_its_gradient_finite():
    given = columns()
    value = nested_cosent(*given, torch.ones(4, dtype=torch.float64), DIMS, 0.05).sum()
    assert value == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(value, given))


def test_cosent_passes_gradcheck():
    given = [x[:3].detach().requires_grad_() for x in columns()]
    scores = torch.tensor((0.2, 0.9, 0.4), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: nested_cosent(a, b, scores, (3, WIDTH), 0.5), given)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_directions_and_equal_texts_equal_the_loops(parts, both, masked):
    given = layers(parts, batch=4)
    same = loops_tasks.equal_texts(["a", "b", "a", "c"], ["p", "p", "q", "a"])
    own = term("nested_info_nce", directions="both" if both else "one", mask_duplicates=masked)
    found = own.loss(states(given, same=torch.tensor(same)), NESTING, None)
    last = given[max(given)]
    loop = loops_tasks.nested(last, DIMS, lambda c: loops_tasks.ranking(c, 10, both, same if masked else None))
    agree(found, loop, last)


@pytest.mark.parametrize("task", ["auto", "cosent", "info_nce"])
def test_scored_pairs_take_cosent_unless_told_otherwise(task):
    given, scores = layers(), (0.1, 0.9, 0.5, 0.3)
    batch = states(given, scores=torch.tensor(scores))
    found = term("nested_info_nce", task=task).loss(batch, NESTING, None)
    loop = loops_tasks.info_nce_task(0.1) if task == "info_nce" else lambda c: loops_tasks.cosent(c, scores, 10)
    agree(found, loops_tasks.nested(given[max(given)], DIMS, loop), given[max(given)])


@pytest.mark.parametrize(
    ("named", "weights"),
    [
        ("uniform", (1, 1, 1, 1)),
        ("log", tuple(1 / (1 + math.log(i)) for i in (1, 2, 3, 4))),
        ("width", (2 / 12, 3 / 12, 6 / 12, 1)),
        ((0.5, 0.0, 2.0, 1.0), (0.5, 0.0, 2.0, 1.0)),
    ],
)
def test_weights_of_widths(named, weights):
    given = layers()
    found = term("nested_info_nce", dim_weights=named).loss(states(given), NESTING, None)
    loop = loops_tasks.nested(given[max(given)], DIMS, loops_tasks.info_nce_task(0.1), weights)
    agree(found, loop, given[max(given)])
    assert log_weights(4) == pytest.approx(tuple(1 / (1 + math.log(i)) for i in (1, 2, 3, 4)))


def test_sampled_widths_are_some_of_all_and_depend_on_the_draw_alone():
    given, own = layers(), term("nested_info_nce", sampled_dims=2)
    each = [loops_tasks.info_nce_task(0.1)(loops_tasks.cut(given[max(given)], d)).item() for d in DIMS]
    pairs = [sum(pair) for pair in itertools.combinations(each, 2)]
    found = [own.loss(states(given, draw=draw), NESTING, None).item() for draw in range(20)]
    assert all(min(abs(value - pair) for pair in pairs) < 1e-9 for value in found)
    assert len({round(value, 6) for value in found}) > 2
    assert found[3] == own.loss(states(given, draw=3), NESTING, None).item()


def test_the_mean_is_the_sum_over_the_number_of_widths():
    given = states(layers())
    total, mean = (term("nested_info_nce", reduction=r).loss(given, NESTING, None) for r in ("sum", "mean"))
    torch.testing.assert_close(mean * len(DIMS), total)


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match=r"dim_weights: 2 weights for 4 widths \[2, 3, 6, 12\]"):
        term("nested_info_nce", dim_weights=(1.0, 2.0))
    with pytest.raises(UserError, match="sampled_dims: 5 widths are to be sampled of 4"):
        term("nested_info_nce", sampled_dims=5)
    cosent = term("nested_info_nce", task="cosent")
    assert "needs scored pairs" in cosent.refusal("pairs") and not cosent.refusal("scored")


def test_a_text_that_repeats_costs_nothing_when_it_is_masked():
    given = columns(batch=3)
    given = {NESTING.shape.depth: [torch.cat([c, c[:1]]).detach() for c in given]}
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    batch = states(given, same=same)
    plain, masked = (term("nested_info_nce", mask_duplicates=m).loss(batch, NESTING, None) for m in (False, True))
    assert masked < plain


@pytest.mark.parametrize("dims", [(4, 2), (2, 2), (0, 4), (2, 9)])
def test_widths_that_do_not_rise_or_are_too_wide_are_refused(dims):
    rows, ones = torch.ones(3, 8), torch.ones(3, 2)
    calls = (
        lambda: nested_cosines(rows, rows, dims),
        lambda: nested_info_nce(rows, rows, dims, 0.1),
        lambda: nested_cosent(rows, rows, torch.ones(3), dims, 0.1),
        lambda: topk_cka(torch.ones(3, 2, 8), ones, ones, dims, (0.5, 0.5)),
    )
    for call in calls:
        with pytest.raises(
            ValueError, match=rf"dims are \[{dims[0]}, {dims[1]}\] of vectors of width 8; give widths of 1..8"
        ):
            call()
