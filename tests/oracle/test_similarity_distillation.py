"""Similarity-level self-distillation against a loop: over layers, widths and views, from the full width or a frozen teacher."""

import loops
import loops_siblings
import pytest
import torch
from batches import DEPTH, DIMS, NESTING, agree, columns, layers, normal, states, term

from mipic_bench.objectives.similarity_distillation import similarity_gap


def loop_gap(student, teacher, dim):
    """mean over i != j of (cos(s_i[:d], s_j[:d]) - cos(t_i, t_j))^2, the teacher a constant."""
    pairs = [(i, j) for i in range(len(student)) for j in range(len(student)) if i != j]
    return loops.mean(
        [
            (loops.cosine(student[i, :dim], student[j, :dim]) - loops.cosine(teacher[i].detach(), teacher[j].detach()))
            ** 2
            for i, j in pairs
        ]
    )


def test_the_gap_equals_the_loop():
    student, teacher = columns()
    found = similarity_gap(student, teacher, DIMS)
    loop = torch.stack([loop_gap(student, teacher, dim) for dim in DIMS])
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    agree((found * weights).sum(), (loop * weights).sum(), [student])
    assert not torch.autograd.grad(found.sum(), teacher, allow_unused=True)[0]


@pytest.mark.parametrize("layer_set", ["last", "default", (2,)])
@pytest.mark.parametrize("teacher", ["online", "frozen"])
@pytest.mark.parametrize("measure", ["squared", "kl"])
def test_the_term_is_the_mean_over_layers_widths_and_views(layer_set, teacher, measure):
    given, frozen = layers(), normal(8, 12, seed=50)
    own = term("similarity_distillation", layer_set=layer_set, teacher=teacher, measure=measure)
    found = own.loss(states(given, teacher=frozen), NESTING, None)
    chosen = {"last": (4,), "default": (1, 2, 3, 4)}.get(layer_set, layer_set)
    aims = frozen.chunk(2) if teacher == "frozen" else given[DEPTH]
    values = []
    for layer in chosen:
        for dim in DIMS[:-1] if layer == DEPTH and teacher == "online" else DIMS:
            for view, aim in zip(given[layer], aims, strict=True):
                if measure == "squared":
                    values.append(loop_gap(view, aim, dim))
                elif aim is view:
                    values.append(loops_siblings.distortion(view, dim, 0.1, 0.1))
                else:
                    values.append(against(view[:, :dim], aim))
    agree(found, loops.mean(values), [column for layer in chosen for column in given[layer]], rtol=1e-5, atol=1e-6)


def against(student, teacher):
    """KL of the teacher's softmaxed similarities to the student's, row by row."""
    rows = []
    for i in range(len(student)):
        log_p = loops_siblings.neighbours(i, teacher.detach(), 0.1, None)
        log_q = loops_siblings.neighbours(i, student, 0.1, None)
        rows.append(loops.total([p.exp() * (p - q) for p, q in zip(log_p, log_q, strict=True)]))
    return loops.mean(rows)


def test_one_row_has_no_pair_and_so_no_gap():
    student = torch.randn(1, 6, requires_grad=True)
    found = similarity_gap(student, torch.randn(1, 6), (2, 6))
    assert found.tolist() == [0.0, 0.0]
    found.sum().backward()


def test_it_says_which_layers_it_reads_and_whether_it_needs_a_teacher():
    own = term("similarity_distillation", layer_set=(2,))
    assert own.layers(NESTING) == (2, 4) and not own.needs_teacher
    assert term("similarity_distillation", teacher="frozen").needs_teacher
