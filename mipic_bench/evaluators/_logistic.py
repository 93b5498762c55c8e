"""Multinomial logistic regression with an L2 penalty, solved exactly and fast.

The problem is scikit-learn's `LogisticRegression(C=1)`: minimize sum_i cross-entropy_i + |W|^2 / (2 C), the intercept
free. Two classes are the same problem with one weight vector w: as W = (-w/2, w/2) has |W|^2 = |w|^2 / 2, the
penalty is doubled.

Solver: L-BFGS preconditioned by the inverse of X^T X / classes + penalty (the Hessian if all probabilities were
1 / classes), which takes 15-50 gradients where the plain one takes hundreds. The line search looks at slopes alone: the
objective is convex, and float32 slopes stay exact where differences of values drown in rounding. Every budget
starts at zero: starting from the neighboring width saved a tenth of the gradients and would have made a value
depend on which other widths were asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mipic_bench.evaluators._cosine import Vectors
from mipic_bench.evaluators._estimates import Labels

TOLERANCE = 1e-5  # largest gradient of the mean loss at the solution; scikit-learn stops at 1e-4
_MEMORY = 10  # curvature pairs kept
_MOST_STEPS = 300
_FLAT = 0.8  # a step is accepted when the slope along it rose to at most this share of the first slope's size


@dataclass(frozen=True)
class Probe:
    """A fitted classifier.

    Attributes:
        classes: (class,) the labels, ascending.
        weights: (dim + 1, class), the last row the intercepts.
        gradients: evaluations of the gradient that the fit took.
        converged: whether `TOLERANCE` was reached.
    """

    classes: Labels
    weights: Tensor
    gradients: int
    converged: bool

    def predict(self, vectors: Vectors) -> Labels:
        """Return the most likely label of each vector (text, dim)."""
        logits = torch.from_numpy(vectors) @ self.weights[:-1] + self.weights[-1]
        labels: Labels = self.classes[logits.argmax(dim=1).numpy()]
        return labels


def fit(vectors: Vectors, labels: Labels, strength: float = 1.0) -> Probe:
    """Fit a probe.

    Args:
        vectors: (text, dim) float32, finite.
        labels: (text,) at least two distinct.
        strength: scikit-learn's C.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    penalty = (2.0 if len(classes) == 2 else 1.0) / strength
    inputs = torch.cat([torch.from_numpy(vectors), torch.ones(len(vectors), 1)], dim=1)
    shrink = torch.full((inputs.shape[1], 1), penalty)
    shrink[-1] = 0
    gradient = _gradient(inputs, torch.from_numpy(targets), shrink)
    weights, calls, converged = _minimize(
        gradient, _preconditioner(inputs, shrink, len(classes)), torch.zeros(inputs.shape[1], len(classes))
    )
    return Probe(classes, weights, calls, converged)


def _gradient(inputs: Tensor, targets: Tensor, shrink: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function from weights (dim + 1, class) to the gradient of the mean objective."""
    rows, transposed = torch.arange(len(inputs)), inputs.T.contiguous()

    def gradient(weights: Tensor) -> Tensor:
        errors = (inputs @ weights).softmax(dim=1)
        errors[rows, targets] -= 1
        return (transposed @ errors + shrink * weights) / len(inputs)

    return gradient


def _preconditioner(inputs: Tensor, shrink: Tensor, classes: int) -> Tensor:
    hessian = (inputs.T @ inputs).double() / classes
    hessian.diagonal().add_(shrink.flatten().double())
    inverse: Tensor = torch.linalg.inv(hessian / len(inputs))
    return inverse.float()


def _minimize(gradient: Callable[[Tensor], Tensor], scale: Tensor, weights: Tensor) -> tuple[Tensor, int, bool]:
    """Return the minimum, the number of gradients taken, and whether it was reached."""
    slope, calls = gradient(weights), 1
    pairs: list[tuple[Tensor, Tensor]] = []
    for _ in range(_MOST_STEPS):
        if float(slope.abs().max()) <= TOLERANCE:
            return weights, calls, True
        direction = -_quasi_newton(slope, pairs, scale)
        descent = float((slope * direction).sum())
        if descent >= 0:  # rounding spoiled the curvature pairs; without them the direction descends
            pairs = []
            continue
        step = 1.0
        for _ in range(10):
            moved = weights + step * direction
            new_slope, calls = gradient(moved), calls + 1
            ahead = float((new_slope * direction).sum())
            if ahead <= -_FLAT * descent:
                break
            step *= descent / (descent - ahead)  # where the slope would be zero if it fell evenly
        if float(((moved - weights) * (new_slope - slope)).sum()) > 0:
            pairs = [*pairs[1 - _MEMORY :], (moved - weights, new_slope - slope)]
        weights, slope = moved, new_slope
    return weights, calls, float(slope.abs().max()) <= TOLERANCE


def _quasi_newton(slope: Tensor, pairs: list[tuple[Tensor, Tensor]], scale: Tensor) -> Tensor:
    """Multiply a gradient by the L-BFGS inverse Hessian (two-loop recursion; Nocedal and Wright, alg. 7.4)."""
    shares = []
    rest = slope.clone()
    for step, change in reversed(pairs):
        share = (step * rest).sum() / (step * change).sum()
        shares.append(share)
        rest -= share * change
    rest = scale @ rest
    if pairs:
        step, change = pairs[-1]
        rest *= (step * change).sum() / (change * (scale @ change)).sum()
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        rest += (share - (change * rest).sum() / (step * change).sum()) * step
    return rest
