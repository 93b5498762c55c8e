"""The loops of the other methods, against formulas written another way, and what must hold of them."""

import math

import loops
import loops_ese
import loops_layers
import loops_siblings
import loops_tasks
import pytest
import torch
from torch import Tensor
from torch.nn import functional


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def layers() -> dict[int, list[Tensor]]:
    """Hidden states 0..4 of five pairs."""
    return {k: [normal(5, 8, seed=2 * k), normal(5, 8, seed=2 * k + 1)] for k in range(5)}


def unit(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=-1)


def close(a: Tensor, b: Tensor | float) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=torch.float64))


def task(columns) -> Tensor:
    """InfoNCE by torch's own cross-entropy."""
    return functional.cross_entropy(20 * unit(columns[0]) @ unit(columns[1]).T, torch.arange(len(columns[0])))


def kl(student, teacher, t=1.0, d=None) -> Tensor:
    s, r = torch.cat(list(student))[:, :d], torch.cat(list(teacher))[:, :d]
    return functional.kl_div((s / t).log_softmax(1), (r / t).softmax(1), reduction="batchmean")


# --- task losses -------------------------------------------------------------------------------------------------------


def test_equal_texts_is_symmetric_for_simcse_and_true_on_the_diagonal():
    texts = ["x", "y", "x"]
    assert loops_tasks.equal_texts(texts, texts) == [[True, False, True], [False, True, False], [True, False, True]]


def test_equal_texts_of_pairs():
    same = loops_tasks.equal_texts(["a", "b", "a", "c"], ["p", "p", "q", "a"])
    assert same == [
        [True, True, True, True],  # b's positive is its own; a's other positive; c's positive is the anchor itself
        [True, True, False, False],
        [True, False, True, True],
        [False, False, False, True],  # a is c's positive, but c is nobody's
    ]


@pytest.mark.parametrize("both", [False, True])
def test_ranking_without_false_negatives(both):
    anchors, positives, negatives = normal(4, 8), normal(4, 8, seed=1), normal(4, 8, seed=2)
    same = [
        [True, False, True, False],
        [False, True, False, False],
        [False, False, True, False],
        [True, False, False, True],
    ]
    scores = 20 * unit(anchors) @ unit(torch.cat([positives, negatives])).T
    masked = scores.clone()
    masked[:, :4][torch.tensor(same) & ~torch.eye(4, dtype=torch.bool)] = -math.inf
    expected = functional.cross_entropy(masked, torch.arange(4))
    if both:
        expected = (expected + functional.cross_entropy(masked[:, :4].T, torch.arange(4))) / 2
    close(loops_tasks.ranking([anchors, positives, negatives], 20, both, same), expected)


def test_ranking_without_a_guard_is_info_nce():
    columns = [normal(4, 8), normal(4, 8, seed=1), normal(4, 8, seed=2)]
    close(loops_tasks.ranking(columns), loops.info_nce(columns[0], columns[1], 0.05, columns[2]))


def test_cosent_is_the_masked_matrix_of_differences():
    columns, labels = [normal(5, 8), normal(5, 8, seed=1)], torch.tensor([0.1, 0.9, 0.9, 0.3, 0.2])
    cosines = 20 * functional.cosine_similarity(*columns)
    differences = cosines[None, :] - cosines[:, None]
    wrong = differences[labels[:, None] > labels[None, :]]
    close(loops_tasks.cosent(columns, labels.tolist()), wrong.exp().sum().log1p())


def test_cosent_of_equal_labels_is_zero():
    close(loops_tasks.cosent([normal(3, 8), normal(3, 8, seed=1)], [0.5] * 3), 0.0)


# --- layers ------------------------------------------------------------------------------------------------------------


def test_coordinate_kl_and_its_direction(layers):
    close(loops_layers.coordinate_kl(layers[1], layers[4], 0.3), kl(layers[1], layers[4], 0.3))
    close(loops_layers.coordinate_kl(layers[1], layers[4], dim=3), kl(layers[1], layers[4], d=3))
    assert loops_layers.coordinate_kl(layers[1], layers[4]) != loops_layers.coordinate_kl(layers[4], layers[1])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_two_d_mse(layers, temperature):
    early, last = layers[2], layers[4]
    expected = task(last) + task(early) + task([c[:, :3] for c in last]) + task([c[:, :3] for c in early])
    expected = expected + temperature**2 * (kl(early, last, temperature) + kl(early, last, temperature, 3))
    close(loops_layers.two_d_mse(layers, 2, 3, loops_tasks.ranking, temperature), expected)


def test_two_d_mse_of_two_equal_layers_has_no_divergence(layers):
    layers[2] = layers[4]
    only_kl = loops_layers.two_d_mse(layers, 2, 3, loops_tasks.ranking, weights=(0, 0, 0, 0, 1, 1))
    torch.testing.assert_close(only_kl, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12)


def test_matryoshka_2d_before_differs_from_now_in_weight_and_gradient(layers):
    for columns in layers.values():
        for column in columns:
            column.requires_grad_()
    arguments = (layers, 2, [6], [3], loops_tasks.ranking)
    before, now = loops_layers.matryoshka_2d_before(*arguments), loops_layers.matryoshka_2d(*arguments)
    close(now - before, loops_tasks.ranking(loops_tasks.cut(layers[2], 3)) / 2)
    last = layers[4]
    grew = torch.autograd.grad(before, last)[0] - torch.autograd.grad(now, last)[0]
    close(grew, torch.autograd.grad(0.3 * kl(layers[2], last, 0.3), last)[0])


def test_matryoshka_2d_before_never_drew_the_embedding_output(layers):
    with pytest.raises(ValueError, match="embedding output"):
        loops_layers.matryoshka_2d_before(layers, 0, [6], [3], loops_tasks.ranking)


def test_starbucks(layers):
    pairs = [(1, 2), (2, 4), (3, 6), (4, 8)]
    expected = task(layers[4])
    for layer, d in pairs[:-1]:
        expected = expected + task([c[:, :d] for c in layers[layer]]) + 0.3 * kl(layers[layer], layers[4], d=d)
    close(loops_layers.starbucks(layers, pairs, loops_tasks.ranking), expected)


def test_espresso(layers):
    weights = (1, 1 / (1 + math.log(2)), 1 / (1 + math.log(3)))

    def inner(columns):
        return sum(w * task([c[:, :d] for c in columns]) for w, d in zip(weights, (2, 4, 8), strict=True))

    expected = inner(layers[4]) + inner(layers[3]) / (1 + math.log(2)) + inner(layers[1]) / (1 + math.log(4))
    close(loops_layers.espresso(layers, [3, 1], (2, 4, 8), loops_tasks.ranking), expected)


# --- ESE ---------------------------------------------------------------------------------------------------------------


def test_the_compression_basis_is_the_singular_vectors_of_the_softmaxed_gram_matrix():
    rows = normal(10, 8)
    a = (rows.T @ rows / math.sqrt(8)).softmax(dim=1)
    basis = loops_ese.compression_basis(rows, 3)
    close(basis @ basis.T @ basis, a @ a.T @ basis)  # B = U S: columns are eigenvectors of A A^T, of length S
    close(basis.norm(dim=0), torch.linalg.svdvals(a)[:3])
    assert (basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)) > 0).all()
    u, s, _ = torch.svd_lowrank(a, q=8)
    close((u @ torch.diag(s))[:, :3].abs(), basis.abs())


def test_compression_targets_are_constants_and_share_one_basis(layers):
    columns = [c.requires_grad_() for c in layers[4]]
    targets = loops_ese.compression_targets(columns, 3)
    assert not any(t.requires_grad for t in targets)
    close(torch.cat(targets), torch.cat(columns).detach() @ loops_ese.compression_basis(torch.cat(columns), 3))


@pytest.mark.parametrize("compress", [False, True])
def test_ese(layers, compress):
    def compact(k):
        if not compress:
            return 0
        student = torch.cat([c[:, :3] for c in layers[k]])
        target = torch.cat(loops_ese.compression_targets(layers[k], 3))
        return functional.mse_loss(student, target) + kl([student], [target])

    expected = task(layers[4]) + task([c[:, :3] for c in layers[4]]) + compact(4)
    for i in (0, 1, 2):
        expected = expected + (task([c[:, :3] for c in layers[i]]) + compact(i)) / (1 + math.log(1 + i)) / 3
    close(loops_ese.ese(layers, 3, loops_tasks.ranking, compress=compress), expected)


# --- siblings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queued", [False, True])
def test_distortion(queued):
    rows, queue = normal(5, 8), normal(3, 8, seed=1) if queued else None
    candidates = rows if queue is None else torch.cat([rows, queue])

    def distribution(d):
        scores = unit(rows[:, :d]) @ unit(candidates[:, :d]).T / 0.1
        keep = ~torch.eye(len(rows), len(candidates), dtype=torch.bool)
        return scores[keep].reshape(len(rows), -1).log_softmax(dim=1)

    expected = functional.kl_div(distribution(3), distribution(8), reduction="batchmean", log_target=True)
    close(loops_siblings.distortion(rows, 3, 0.1, 0.1, queue), expected)


def test_distortion_of_the_full_width_is_zero_and_its_teacher_constant():
    rows = normal(5, 8).requires_grad_()
    torch.testing.assert_close(
        loops_siblings.distortion(rows, 8), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12
    )
    (gradient,) = torch.autograd.grad(loops_siblings.distortion(rows, 3), rows)
    assert gradient[:, :3].any()
    assert not gradient[:, 3:].any()


def test_sdr_is_the_mean_distortion_and_its_hinge_never_pushes_the_narrow_width():
    views = [normal(5, 8).requires_grad_(), normal(5, 8, seed=1).requires_grad_()]
    each = [[loops_siblings.distortion(v, d) for d in (2, 4)] for v in views]
    close(loops_siblings.sdr(views, (2, 4)), torch.stack([torch.stack(e).mean() for e in each]).mean())
    hinge = loops_siblings.sdr(views, (4, 2), semantic_weight=0.0, monotone_weight=1.0)  # upside down: D rises
    close(hinge, torch.stack([(e[0] - e[1]).clamp(min=0) for e in each]).mean())
    (gradient,) = torch.autograd.grad(hinge, views[0])
    assert not gradient[:, 2:].any()


@pytest.mark.parametrize("k", [None, 2])
def test_adaptor_pairs(k):
    frozen, adapted = normal(5, 8), normal(5, 8, seed=1)
    before = unit(frozen) @ unit(frozen).T
    chosen = before.masked_fill(torch.eye(5, dtype=torch.bool), -2).topk(k or 4, dim=1).indices
    differences = []
    for m in (3, 8):
        after = unit(adapted[:, :m]) @ unit(adapted[:, :m]).T
        differences.append((before - after).abs().gather(1, chosen))
    close(loops_siblings.adaptor_pairs(frozen, adapted, (3, 8), k), torch.stack(differences).mean())


def test_adaptor_unsupervised_adds_up_and_an_idle_adaptor_changes_nothing_at_full_width():
    frozen, adapted = normal(5, 8), normal(5, 8, seed=1)
    expected = (
        loops_siblings.adaptor_pairs(frozen, adapted, (3,), 2)
        + 0.5 * loops_siblings.adaptor_pairs(frozen, adapted, (3,))
        + 0.25 * (adapted - frozen).abs().mean()
    )
    close(loops_siblings.adaptor_unsupervised(frozen, adapted, (3,), 2, 0.5, 0.25), expected)
    close(loops_siblings.adaptor_unsupervised(frozen, frozen, (8,), 2), 0.0)


def test_adaptor_rank():
    queries, documents = normal(2, 8), normal(3, 8, seed=1)
    relevance = [[2.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    scores = unit(queries[:, :4]) @ unit(documents[:, :4]).T
    terms = [
        (relevance[i][j] - relevance[i][k]) * functional.softplus(scores[i, k] - scores[i, j])
        for i, j, k in [(0, 0, 1), (0, 0, 2), (0, 2, 1), (1, 1, 0), (1, 2, 0)]
    ]
    close(loops_siblings.adaptor_rank(queries, documents, relevance, (4,)), torch.stack(terms).mean())


def test_sequential_stage_trains_only_the_last_projection():
    columns = [normal(4, 8), normal(4, 8, seed=1)]
    first, second = normal(8, 8, seed=2).requires_grad_(), normal(4, 4, seed=3).requires_grad_()
    loss = loops_siblings.sequential_stage(columns, [first, second], 2, loops_tasks.ranking)
    reached = [(c @ first)[:, :4] @ second for c in columns]
    close(loss, task(reached) + task([r[:, :2] for r in reached]))
    gradients = torch.autograd.grad(loss, [first, second], allow_unused=True)
    assert gradients[0] is None
    assert gradients[1].any()


def test_chosen_dimensions_are_the_most_likely_with_the_slope_of_the_softmax():
    logits, noise = normal(6).requires_grad_(), normal(6, seed=1)
    kept, gates = loops_siblings.chosen_dimensions(logits, noise, 3, 0.5)
    p = ((logits + noise) / 0.5).softmax(0)
    assert kept == sorted(p.topk(3).indices.tolist())
    assert [g.item() for g in gates] == pytest.approx([1.0] * 3)
    close(torch.autograd.grad(gates[0], logits)[0], torch.autograd.grad(p[kept[0]], logits)[0])


def test_memory_loss():
    frozen, past, projection = normal(3, 8), normal(6, 8, seed=1), normal(8, 4, seed=2)
    before = unit(frozen) @ unit(past).T
    after = unit(frozen @ projection) @ unit(past @ projection).T
    chosen = before.topk(2, dim=1).indices
    expected = (before - after).abs().gather(1, chosen).mean()
    close(loops_siblings.memory_loss(frozen, frozen @ projection, past, past @ projection, 2), expected)
