"""Post-hoc transforms: PCA against scikit-learn, losses against the loops, what must hold of all."""

import math

import loops_siblings
import loops_tasks
import numpy as np
import pytest
import torch
from batches import agree, normal
from loops import cosine
from sklearn import decomposition

from mipic_bench.errors import UserError
from mipic_bench.posthoc import Fitted, transforms
from mipic_bench.posthoc.adaptor import adaptor_loss
from mipic_bench.posthoc.rotation import neighbor_loss
from mipic_bench.posthoc.smec import chosen_dimensions, memory_loss

WIDTH, DIMS = 12, (2, 4, 8, 12)
SMALL = {
    "adaptor": {"iterations": 60, "batch_size": 16, "k": 3},
    "rotation": {"iterations": 40, "batch_size": 16},
    "smec": {"iterations": 20, "batch_size": 16, "memory": 32, "k": 3},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Fits so small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def vectors(count: int = 60, seed: int = 0) -> np.ndarray:
    """Correlated vectors away from the origin: a few directions hold most of the variance."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).standard_normal((WIDTH, WIDTH)) * np.geomspace(3, 0.5, WIDTH)[:, None]
    return (rng.standard_normal((count, WIDTH)) @ mix + 1).astype(np.float32)


def fitted(name: str, seed: int = 0, **settings) -> Fitted:
    return transforms()[name](**SMALL.get(name, {}) | settings).fit(vectors(), DIMS, seed)


def cosines(x: np.ndarray) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("name", transforms())
def test_it_keeps_shape_and_type_and_the_same_seed_gives_the_same_bits(name):
    fresh = vectors(7, seed=1)
    one, other = fitted(name), fitted(name)
    result = one.apply(fresh)
    assert result.shape == fresh.shape and result.dtype == np.float32 and np.isfinite(result).all()
    np.testing.assert_array_equal(result, other.apply(fresh))
    assert {key: value.tolist() for key, value in one.arrays().items()} == {
        key: value.tolist() for key, value in other.arrays().items()
    }
    for dim in (*DIMS, 3):
        at = one.at(fresh, dim)
        assert at.shape == (7, dim) and at.dtype == np.float32
        if one.nested:
            np.testing.assert_array_equal(at, result[:, :dim])


@pytest.mark.parametrize("name", transforms())
def test_it_does_not_depend_on_what_it_is_applied_to(name):
    one, fresh = fitted(name), vectors(7, seed=1)
    for dim in DIMS:
        np.testing.assert_allclose(one.at(fresh[2:4], dim), one.at(fresh, dim)[2:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_equals_scikit_learn(whiten):
    data, fresh = vectors(), vectors(9, seed=2)
    found = fitted("pca", whiten=whiten).apply(fresh)
    expected = decomposition.PCA(whiten=whiten, svd_solver="full").fit(data).transform(fresh)
    scale = (len(data) / (len(data) - 1)) ** 0.5 if whiten else 1  # theirs divides by n - 1
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs * scale, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "settings"), [("pca", {"center": False}), ("random_projection", {}), ("random_dims", {}), ("rotation", {})]
)
def test_a_rotation_or_reordering_changes_nothing_at_full_width(name, settings):
    fresh = vectors(9, seed=2)
    np.testing.assert_allclose(cosines(fitted(name, **settings).apply(fresh)), cosines(fresh), atol=1e-5)


def test_pca_with_fewer_texts_than_dimensions_still_serves_every_width():
    result = transforms()["pca"]().fit(vectors(5), DIMS, 0).apply(vectors(9, seed=2))
    assert result.shape == (9, WIDTH) and np.isfinite(result).all()


@pytest.mark.parametrize("name", transforms())
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_learns_from_vectors_tells_of_those_that_are_no_numbers(name, broken):
    rows = vectors()
    rows[[4, 9], 3] = broken
    fit = transforms()[name](**SMALL.get(name, {})).fit
    if name.startswith("random"):
        assert all(np.isfinite(array).all() for array in fit(rows, DIMS, 0).arrays().values())
        return
    with pytest.raises(UserError, match="2 of 60 training texts have vectors that are not finite"):
        fit(rows, DIMS, 0)


def test_whitening_needs_more_texts_than_dimensions():
    """What no text tells apart has no variance of its own, and would be most of what is left."""
    with pytest.raises(
        UserError, match=f"whitening {WIDTH} coordinates needs more training texts than that, {WIDTH} were"
    ):
        transforms()["pca"](whiten=True).fit(vectors(WIDTH), DIMS, 0)
    transforms()["pca"](whiten=True).fit(vectors(WIDTH + 1), DIMS, 0)


@pytest.mark.parametrize("count", [2, 30, 200])
def test_smec_learns_on_small_corpora_too(count):
    """No text is its own nearest: the loss of the very first step is above nothing."""
    few = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    assert transforms()["smec"](iterations=3, choose_dims=False).fit(few, DIMS, 0).history[0] > 0.01


@pytest.mark.parametrize("name", transforms())
def test_a_transform_that_calls_itself_random_differs_by_seed_and_no_other_does(name):
    fresh = vectors(9, seed=2)
    one, other = (fitted(name, seed).at(fresh, DIMS[0]) for seed in (0, 1))
    assert np.array_equal(one, other) != transforms()[name].random


def test_a_gaussian_projection_is_no_rotation():
    gaussian = fitted("random_projection", kind="gaussian")
    assert not np.allclose(gaussian.arrays()["matrix"] @ gaussian.arrays()["matrix"].T, np.eye(WIDTH), atol=0.1)


@pytest.mark.parametrize("k", [1, 3])
def test_the_adaptors_loss_equals_the_loops(k):
    frozen, adapted = normal(5, WIDTH), normal(5, WIDTH, seed=1).requires_grad_()
    found = adaptor_loss(frozen, adapted, (3, WIDTH), k, 0.5, 0.25)
    agree(found, loops_siblings.adaptor_unsupervised(frozen, adapted, (3, WIDTH), k, 0.5, 0.25), [adapted])


def test_the_adaptor_starts_as_the_identity_gets_better_and_keeps_its_best():
    one = fitted("adaptor", iterations=300)
    assert one.history[0] > min(one.history)
    frozen = torch.from_numpy(vectors())
    scaled, adapted = (torch.from_numpy(x) * float(one.arrays()["scale"]) for x in (vectors(), one.apply(vectors())))
    assert adaptor_loss(scaled, adapted, DIMS, 3) < adaptor_loss(scaled, scaled, DIMS, 3)
    assert not torch.equal(frozen, torch.from_numpy(one.apply(vectors())))


def test_an_adaptor_that_only_gets_worse_stays_the_identity():
    one = fitted("adaptor", learning_rate=100.0)
    assert min(one.history[1:]) > one.history[0]
    np.testing.assert_array_equal(one.apply(vectors()), vectors())


def test_smecs_memory_loss_equals_the_loops():
    frozen, past = normal(3, WIDTH), normal(6, WIDTH, seed=1)
    reached, past_reached = normal(3, 4, seed=2).requires_grad_(), normal(6, 4, seed=3)
    found = memory_loss(frozen, reached, past, past_reached, 2)
    agree(found, loops_siblings.memory_loss(frozen, reached, past, past_reached, 2), [reached])


def test_smecs_choice_equals_the_loops():
    logits, noise = normal(6).requires_grad_(), normal(6, seed=1)
    kept, gates = chosen_dimensions(logits, noise, 3, 0.5)
    expected, loop_gates = loops_siblings.chosen_dimensions(logits, noise, 3, 0.5)
    assert kept.tolist() == expected
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    agree((gates * weights).sum(), sum(w * g for w, g in zip(weights, loop_gates, strict=True)), [logits])


def test_smecs_maps_are_the_stages_one_after_the_other():
    """With the first coordinates kept, each map is the wider one, cut, times its own stage's projection."""
    one = fitted("smec", choose_dims=False)
    maps = {width: torch.from_numpy(one.arrays()[f"map.{width}"]).double() for width in DIMS}
    stages = [maps[12], *(torch.linalg.pinv(maps[wide][:, :d]) @ maps[d] for wide, d in ((12, 8), (8, 4)))]
    fresh = torch.from_numpy(vectors(4, seed=5)).double()
    torch.testing.assert_close(loops_siblings.project(fresh, stages), fresh @ maps[4], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(maps[2], maps[4][:, :2])  # the narrowest has no stage of its own


def test_smecs_training_brings_its_own_loss_down():
    """On fresh texts too: neighbors in the whole space stay nearer than where coordinates are merely cut off."""
    one = fitted("smec", iterations=300)
    fresh, past = (torch.from_numpy(vectors(count, seed)) for count, seed in ((40, 5), (200, 6)))
    for width in (4, 8):
        mapped = torch.from_numpy(one.arrays()[f"map.{width}"])
        learned = memory_loss(fresh, fresh @ mapped, past, past @ mapped, 3)
        assert learned < 0.95 * memory_loss(fresh, fresh[:, :width], past, past[:, :width], 3)


def test_a_stage_of_smec_is_the_loops_stage():
    """The two halves of a stage, through one projection, cut to the next width."""
    frozen, past = normal(3, WIDTH), normal(6, WIDTH, seed=1)
    weight = normal(WIDTH, WIDTH, seed=2).requires_grad_()
    there = past @ weight.detach()

    def task(columns):
        width = columns[0].shape[1]
        return loops_siblings.memory_loss(frozen, columns[0], past, there[:, :width], 2)

    expected = loops_siblings.sequential_stage([frozen], [weight], 4, task)
    here = frozen @ weight
    found = memory_loss(frozen, here, past, there, 2) + memory_loss(frozen, here[:, :4], past, there[:, :4], 2)
    agree(found, expected, [weight])
    assert loops_tasks.cut([here], 4)[0].shape == (3, 4)


def test_the_rotations_loss_equals_the_loops():
    whole, turned = normal(5, WIDTH), normal(5, WIDTH, seed=1)
    found = neighbor_loss(whole, turned, DIMS, 0.1)
    for place, dim in enumerate(DIMS):
        total = 0.0
        for i in range(5):
            aims = [math.exp(cosine(whole[i], whole[j]) / 0.1) for j in range(5)]
            seen = [math.exp(cosine(turned[i][:dim], turned[j][:dim]) / 0.1) for j in range(5)]
            total -= sum(a / sum(aims) * math.log(q / sum(seen)) for a, q in zip(aims, seen, strict=True))
        assert float(found[place]) == pytest.approx(total / 5, rel=1e-6)


def test_the_rotation_is_orthogonal_and_better_than_where_it_starts():
    rows = vectors()
    turned = fitted("rotation", batch_size=60, iterations=150)
    assert np.allclose(turned.matrix @ turned.matrix.T, np.eye(WIDTH), atol=1e-5)
    start = transforms()["pca"](center=False).fit(rows / np.linalg.norm(rows, axis=1, keepdims=True), DIMS, 0)
    whole = torch.from_numpy(rows)
    before, after = (
        float(neighbor_loss(whole, torch.from_numpy(one.apply(rows)), DIMS[:-1], 0.1).mean()) for one in (start, turned)
    )
    assert after < before
