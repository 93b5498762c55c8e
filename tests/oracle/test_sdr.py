"""SDR-MRL against the loops: distortion, its variants, the queue, the learned temperatures."""

import loops_siblings
import pytest
import torch
from batches import DEPTH, DIMS, NESTING, agree, columns, heads, normal, states, term

from mipic_bench.errors import UserError
from mipic_bench.objectives.sdr import distortion

NARROW = DIMS[:-1]


@pytest.mark.parametrize("queued", [False, True])
def test_distortion_equals_the_loops(queued):
    rows, past = columns()[0], normal(3, 12, seed=9) if queued else None
    temperatures = torch.tensor([0.05, 0.1, 0.3], dtype=torch.float64, requires_grad=True)
    found = distortion(rows, rows, NARROW, 0.07, temperatures, past)
    loop = torch.stack(
        [loops_siblings.distortion(rows, d, 0.07, t, past) for d, t in zip(NARROW, temperatures, strict=True)]
    )
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    agree((found * weights).sum(), (loop * weights).sum(), [rows, temperatures])


@pytest.mark.parametrize("divergence", ["reverse", "js"])
def test_other_divergences(divergence):
    """Written another way: with torch's own divergence on rows without their own column."""
    rows = columns()[0]
    temperatures = torch.full((3,), 0.2, dtype=torch.float64)
    found = distortion(rows, rows, NARROW, 0.2, temperatures, divergence=divergence)
    keep = ~torch.eye(4, dtype=torch.bool)

    def logs(x):
        unit = torch.nn.functional.normalize(x)
        return (unit @ unit.T / 0.2)[keep].view(4, 3).log_softmax(1)

    def kl(p, q):
        return torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)

    for value, d in zip(found, NARROW, strict=True):
        p, q = logs(rows.detach()), logs(rows[:, :d])
        middle = ((p.exp() + q.exp()) / 2).log()
        expected = kl(q, p) if divergence == "reverse" else (kl(p, middle) + kl(q, middle)) / 2
        agree(value, expected, [rows])


@pytest.mark.parametrize("monotone", [0.0, 2.0])
@pytest.mark.parametrize("learn", [True, False])
def test_the_term_equals_the_loops_over_three_steps_with_its_queue(monotone, learn):
    own = term("sdr", monotone_weight=monotone, learn_temperatures=learn, queue=10)
    trained, past = heads(own), None
    with torch.no_grad():
        trained.change += torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    for step in range(3):
        given = columns(seed=step)
        temperatures = list((trained.change + torch.tensor(0.1).double().log()).exp())
        found = own.loss(states({DEPTH: given}), NESTING, trained)
        expected = loops_siblings.sdr(given, NARROW, 0.1, temperatures, 1.0, monotone, past)
        agree(found, expected, [*given, trained.change] if learn else given, rtol=1e-5, atol=1e-6)
        rows = torch.cat([column.detach() for column in given])
        past = rows if past is None else torch.cat([past, rows])[-10:]
        stored = trained.past[: min(10, len(past))]
        torch.testing.assert_close(stored.sort(0).values, past.to(stored.dtype).sort(0).values)


def test_a_queue_shorter_than_a_batch_keeps_its_last_rows():
    own, given = term("sdr", queue=3), columns()
    trained = heads(own)
    own.loss(states({DEPTH: given}), NESTING, trained)
    torch.testing.assert_close(trained.past.sort(0).values, torch.cat(given)[-3:].detach().sort(0).values)


def test_outside_training_no_row_joins_the_queue():
    own, given = term("sdr", queue=10), columns()
    trained = heads(own).eval()
    own.loss(states({DEPTH: given}), NESTING, trained)
    assert not trained.count and not trained.past.any()


def test_the_hinge_is_felt_when_a_wider_prefix_is_worse():
    """Two coordinates that hold all there is, then noise up to the last but one width: the wider prefix is further off."""
    texts = normal(4, 2, seed=1)
    noise = 9 * normal(4, 12, seed=2)
    rows = torch.cat([texts, noise[:, 2 : NARROW[-1]], 99 * texts.repeat(1, 6)[:, NARROW[-1] :]], 1)
    even = torch.full((3,), 0.1, dtype=torch.float64)
    assert distortion(rows, rows, NARROW, 0.1, even).diff().max() > 0.01
    values = [
        term("sdr", monotone_weight=w, queue=0).loss(states({DEPTH: [rows, rows]}), NESTING, heads(term("sdr"))).item()
        for w in (0.0, 1.0)
    ]
    assert values[1] > values[0] + 0.01


def test_a_frozen_teacher_is_asked_for_and_used():
    own, given = term("sdr", teacher="frozen", queue=0), columns()
    aim = normal(8, 12, seed=77)
    assert own.needs_teacher and not term("sdr").needs_teacher
    found = own.loss(states({DEPTH: given}, teacher=aim), NESTING, heads(own))
    tau = torch.full((3,), 0.1, dtype=torch.float64)
    expected = sum(distortion(c, t, NARROW, 0.1, tau).mean() for c, t in zip(given, aim.chunk(2), strict=True)) / 2
    agree(found, expected, given, rtol=1e-5, atol=1e-6)


def test_temperatures_stay_within_their_bounds():
    own, given = term("sdr", queue=0), columns()
    values = []
    for change in (-50.0, -5.0):
        trained = heads(own)
        with torch.no_grad():
            trained.change.fill_(change)
        values.append(own.loss(states({DEPTH: given}), NESTING, trained))
    torch.testing.assert_close(values[0], values[1])


def test_the_full_width_has_no_distortion_and_the_teacher_no_gradient():
    rows = columns()[0]
    full = distortion(rows, rows, (12,), 0.1, torch.full((1,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(full, torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-12)
    narrow = distortion(rows, rows, (3,), 0.1, torch.full((1,), 0.1, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(narrow.sum(), rows)
    assert gradient[:, :3].any() and not gradient[:, 3:].any()


@pytest.mark.parametrize("temperature", [0.005, 2.0])
def test_temperatures_outside_the_bounds_are_refused(temperature):
    """They would be held at the bound, without a gradient for ever."""
    with pytest.raises(UserError, match=r"temperature: .* is outside 0\.01 to 1"):
        term("sdr", temperature=temperature)
