"""Scorers: one per task family, each scoring every (layer, dim, precision) from vectors that were encoded once.

To add a family: one file here with one `Evaluator` class, its oracle test, and the family's line in `families.py`, which
says what others must know of it before a scorer is loaded.

How vectors are read, the same for every family unless a protocol says otherwise:
    cut         the first `dim` coordinates of the pooled vector of a layer
    normalize   after the cut, to unit length (cosine), because contrastive objectives leave the length of a vector
                free: a probe or a clustering on raw vectors would compare lengths, not methods
    precision   raw coordinates are quantized, so that a cut of a stored vector is the stored vector of the cut

A standard error is over the scored examples, given the fitted probe, threshold or clusters: the exact first-order
(infinitesimal jackknife) form of the bootstrap, so it needs no random numbers and one sort per budget.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mipic_bench.errors import UserError, raise_all, unknown

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold

PROTOCOLS = ("clean", "paper", "mteb")
PRECISIONS = ("float32", "int8", "binary", "binary+rescore")


@dataclass(frozen=True)
class Score:
    """One number at one budget.

    Attributes:
        layer: transformer block, 1..N.
        dim: embedding width of the cut.
        precision: how the vectors are stored, one of `PRECISIONS`.
        metric: name of the metric as in the rows.
        value: the metric as a fraction in [-1, 1]; nan where it is undefined (the evaluator's notes say why).
        stderr: standard error of the value over the scored examples; nan where the value is.
        n: number of scored examples (pairs, texts or queries).
    """

    layer: int
    dim: int
    precision: str
    metric: str
    value: float
    stderr: float
    n: int


class Evaluator(ABC):
    """Scores one task family at every budget.

    An instance scores one task at a time: `notes` holds what the last `score` had to say (counted skips,
    convergence of probes, budgets without a value) once its iterator is exhausted.

    Attributes:
        family: the task family this class scores.
        version: raised by hand when the numbers of this family change; part of a row's identity.
        precisions: the precisions that mean something for the family; others are left out with a note.
        limits_from_texts: whether int8 takes its limits from texts that are not scored.
    """

    family: ClassVar[str]
    version: ClassVar[int]
    precisions: ClassVar[tuple[str, ...]] = ("float32", "int8", "binary")
    limits_from_texts: ClassVar[bool] = True

    def __init__(self) -> None:
        self.notes: list[str] = []

    def texts(self, fold: "Fold", precisions: Sequence[str] = ("float32",)) -> Iterator[str]:
        """Yield every text that `score` will look up, repeats allowed; int8 adds the texts its ranges come from."""
        from mipic_bench.evaluators._precision import calibration_texts

        yield from self._texts(fold)
        if "int8" in precisions and self.limits_from_texts:
            yield from calibration_texts(fold)

    @abstractmethod
    def _texts(self, fold: "Fold") -> Iterator[str]:
        """Yield the texts that are fitted on, tuned on and scored."""

    def score(
        self,
        fold: "Fold",
        embeddings: "Embeddings",
        layers: Sequence[int],
        dims: Sequence[int],
        precisions: Sequence[str],
        protocol: str,
    ) -> Iterator[Score]:
        """Score a task at every budget.

        Args:
            fold: the rows that are fitted on, tuned on and scored.
            embeddings: the vectors of every text of `texts(fold, precisions)`.
            layers: layers to score, in the order of the answer.
            dims: widths to score; any widths up to the encoder's.
            precisions: storage precisions to score.
            protocol: one of `PROTOCOLS`.

        Returns:
            The scores: layers outermost, then precisions, then dims in ascending order, then metrics.

        Raises:
            UserError: a budget or protocol that does not exist, or data that cannot be scored.
        """
        wrong = [] if protocol in PROTOCOLS else [unknown("protocol", protocol, PROTOCOLS, "--protocol")]
        raise_all([*wrong, *problems(embeddings, layers, dims, precisions)])
        self.notes = self.lacking(fold, precisions)
        kept = [precision for precision in precisions if precision in self.precisions]
        return self._score(fold, embeddings, list(layers), sorted(set(dims)), kept, protocol)

    def lacking(self, fold: "Fold", precisions: Sequence[str]) -> list[str]:
        """Say which of the precisions will have no rows, and why; known before anything is encoded."""
        from mipic_bench.evaluators._precision import calibration_texts

        name = fold.data.name
        found = [
            f"{name}: {precision} is a way of searching, so {self.family} has no such rows"
            for precision in precisions
            if precision not in self.precisions
        ]
        if "int8" in precisions and self.limits_from_texts and not calibration_texts(fold):
            found.append(f"{name}: no text outside the scored rows to take int8 limits from, so no int8 rows")
        return found

    @abstractmethod
    def _score(
        self,
        fold: "Fold",
        embeddings: "Embeddings",
        layers: list[int],
        dims: list[int],
        precisions: list[str],
        protocol: str,
    ) -> Iterator[Score]:
        """Score at budgets that are known to exist; dims ascending without repeats."""


def problems(
    embeddings: "Embeddings", layers: Sequence[int], dims: Sequence[int], precisions: Sequence[str]
) -> Iterator[UserError]:
    """Yield what is wrong with the budgets asked for."""
    for precision in precisions:
        if precision not in PRECISIONS:
            yield unknown("precision", precision, PRECISIONS, "--precision")
    for layer in layers:
        if layer not in embeddings.layers:
            at_hand = ", ".join(map(str, embeddings.layers))
            yield UserError("--layers", f"layer {layer} was not encoded; encoded: {at_hand}", "ask for one of these")
    for dim in dims:
        if not 1 <= dim <= embeddings.width:
            yield UserError("--dims", f"dim {dim} is outside 1..{embeddings.width}", "ask for a width in that range")


def bytes_per_vector(dim: int, precision: str) -> int:
    """Return the bytes that one stored vector takes.

    float32 takes 4 per coordinate, int8 one, binary one bit (whole bytes). "binary+rescore" stores the same bits as
    binary: the top candidates are rescored by the float query against the stored signs (Yamada et al. 2021,
    arXiv 2106.00882). The two limits per coordinate that int8 needs are stored once per index and not counted.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS, "--precision")
    return {"float32": 4 * dim, "int8": dim}.get(precision, (dim + 7) // 8)


def evaluator(family: str) -> Evaluator:
    """Return a fresh evaluator of a task family."""
    found = {leaf.family: leaf for leaf in scorers().values()}
    if family not in found:
        raise unknown("task family", family, found, "task")
    return found[family]()


def scorers() -> dict[str, type[Evaluator]]:
    """Map module name to evaluator class, for every family found in this folder."""
    import mipic_bench.evaluators as package
    from mipic_bench import registry

    return registry.leaves(package, Evaluator)  # type: ignore[type-abstract]
