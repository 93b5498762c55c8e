"""The contract of a post-hoc transform: settings a recipe may give, and what fitting it on vectors returns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from mipic_bench.errors import UserError
from mipic_bench.registry import leaves
from mipic_bench.settings import Several


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> weight x + bias, then ReLU if asked.

    Attributes:
        weight: (out, in) float32.
        bias: (out,) float32; None for none.
        relu: whether negative numbers become 0.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    relu: bool = False


class Fitted(ABC):
    """A transform that has seen its training vectors."""

    nested: ClassVar[bool] = True  # whether one vector's prefixes serve every width
    history: tuple[float, ...] = ()  # losses of the fit, where it is a training

    @abstractmethod
    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Return the transformed vectors, (n, D) float32 -> (n, D) float32; their prefixes serve the widths if nested."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that was fitted, by name, for saving."""

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return what `arrays` was taken from, but for its history."""
        return cls(**arrays)

    def at(self, vectors: np.ndarray, dim: int) -> np.ndarray:
        """Return the transformed vectors at one width, (n, D) -> (n, dim)."""
        return self.apply(vectors)[:, :dim]

    def affine_maps(self, width: int, dim: int) -> list[Affine]:
        """Return the transform at one width as affine maps, one after the other: by default read off zero and each coordinate.

        A transform that is no affine map overrides this; export tries the maps on random vectors before it writes them.

        Args:
            width: of the vectors that it takes.
            dim: of those that it gives.
        """
        origin = self.at(np.zeros((1, width), dtype=np.float32), dim)
        columns = self.at(np.eye(width, dtype=np.float32), dim) - origin
        bias = np.ascontiguousarray(origin[0])
        return [Affine(np.ascontiguousarray(columns.T), bias if bias.any() else None)]


class Transform(BaseModel, ABC):
    """The settings of a post-hoc transform. The class docstring, `formula` and `source` are shown to users; `version` is raised
    by hand when its numbers change, and only then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    formula: ClassVar[str]
    source: ClassVar[str]
    fitted: ClassVar[type[Fitted]]  # what `fit` returns
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True  # whether another seed gives another fit; a method of nothing else then has seeds

    texts: Several = 20_000  # at most so many training texts (of pairs, anchors) are fitted on, drawn at random

    @abstractmethod
    def fit(self, vectors: np.ndarray, dims: Sequence[int], seed: int) -> Fitted:
        """Fit on the vectors of training texts.

        Args:
            vectors: (n, D) float32, raw read-outs of one layer.
            dims: the widths to serve, ascending.
            seed: decides what is drawn at random.

        Raises:
            UserError: it learns from the vectors, and some are not finite.
        """


def finite(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors of training texts as they are, if there is something to learn from every one.

    Raises:
        UserError: some are not finite.
    """
    wrong = int((~np.isfinite(vectors).all(axis=1)).sum())
    if wrong:
        what = f"{wrong} of {len(vectors)} training texts have vectors that are not finite"
        raise UserError("posthoc", what, "read them in another arithmetic (--dtype float32), or look at the weights")
    return vectors


@dataclass(frozen=True, eq=False)
class LinearMap(Fitted):
    """x -> (x - mean) matrix.

    Args:
        mean: (D,). matrix: (D, D).
    """

    mean: np.ndarray
    matrix: np.ndarray

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """See `Fitted.apply`."""
        return np.asarray((vectors - self.mean) @ self.matrix, dtype=np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """See `Fitted.arrays`."""
        return {"mean": self.mean, "matrix": self.matrix}

    def affine_maps(self, width: int, dim: int) -> list[Affine]:
        """See `Fitted.affine_maps`; the mean goes first: one map would subtract large numbers where a whitening blows vectors up."""
        centered = [Affine(np.eye(width, dtype=np.float32), -self.mean)] if self.mean.any() else []
        return [*centered, Affine(np.ascontiguousarray(self.matrix[:, :dim].T))]


@cache
def transforms() -> dict[str, type[Transform]]:
    """Find every transform: file name -> class."""
    from mipic_bench import posthoc

    return leaves(posthoc, Transform)  # type: ignore[type-abstract]
