"""A recipe: one method as data. A TOML file in `methods/` is read, overlaid and resolved to numbers here. No torch.

title, source, about, deviations    what the method is, where it comes from, which variant this is
dims            "default" | "full" | rising widths that are trained
alpha           may stand in a term's weight as "alpha" or "1 - alpha"
[terms.NAME]    term = file name in objectives/ (default: NAME), weight, and the term's own settings
[training]      only what the method itself demands; everything else is the common default below
[backbones.X]   what changes on a known backbone          [ablations.Y]   named changes; a method of its own, <recipe>-Y
[sweeps]        KEY = [values]; each is a method named <recipe>-KEY=VALUE
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.objectives import Nesting, Term, terms
from mipic_bench.objectives._term import Dims, Positive
from mipic_bench.shapes import Shape, default_dims

Raw = dict[str, Any]
M = TypeVar("M", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]


class Training(BaseModel):
    """The common training settings, the same for every method (Table 7 of the MIPIC paper; what it does not state is the
    lab repository's default, see the comments).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(ge=1)] = 5
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 16
    learning_rate: Positive = 2e-5
    head_rate_factor: Positive = 2.0  # repository: the alignment module learns at twice the encoder's rate
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.1  # repository
    min_learning_rate: Annotated[float, Field(ge=0)] = 2e-6  # repository
    clip: Positive | None = 1.0  # repository, for MIPIC only; here for every method
    accumulation: Annotated[int, Field(ge=1)] = 1
    max_length: Annotated[int, Field(ge=4)] = 256
    pooling: Literal["cls", "mean", "last"] | None = None  # None: the backbone's own


class RecipeFile(BaseModel):
    """The keys of a recipe file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    source: str
    about: str = ""
    deviations: tuple[str, ...] = ()
    dims: Literal["default", "full"] | Dims = "default"
    temperature: Positive = 0.05
    alpha: Share | None = None
    procedure: Literal["joint"] = "joint"
    terms: Raw = {}
    training: Raw = {}
    backbones: dict[str, Raw] = {}
    ablations: dict[str, Raw] = {}
    sweeps: dict[str, list[Any]] = {}


@dataclass(frozen=True)
class Recipe:
    """A method before it meets a backbone: the file's own keys and the overlays that apply, in order."""

    method: str
    base_method: str
    ablation: str
    body: Raw
    backbones: Mapping[str, Raw]
    overlays: tuple[Raw, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether the method has any term, and so trains."""
        return bool(self.body.get("terms"))

    def set(self, key: str, value: Any) -> "Recipe":
        """Return the recipe with one dotted key changed; the method's name says so."""
        short = key.removeprefix("terms.").removeprefix("training.")
        suffix = f"{short}={_plain(value)}"
        overlay: Raw = value
        for part in reversed(key.split(".")):
            overlay = {part: overlay}
        return replace(
            self,
            method=f"{self.method}-{suffix}",
            ablation=f"{self.ablation}-{suffix}".lstrip("-"),
            overlays=(*self.overlays, overlay),
        )


@dataclass(frozen=True)
class Resolved:
    """A method on a backbone: numbers only."""

    method: str
    base_method: str
    ablation: str
    title: str
    source: str
    deviations: tuple[str, ...]
    nesting: Nesting
    terms: Mapping[str, Term]
    training: Training

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.terms)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose hidden states training needs."""
        return tuple(sorted({layer for term in self.terms.values() for layer in term.layers(self.nesting)}))

    def identity(self) -> Raw:
        """Return what decides the trained numbers, as plain data for the key and the provenance."""
        if not self.trains:
            return {"pooling": self.training.pooling}
        return {
            "dims": list(self.nesting.dims),
            "temperature": self.nesting.temperature,
            "terms": {
                name: {"term": term_name(term), "version": term.version, **term.model_dump(mode="json")}
                for name, term in self.terms.items()
            },
            "training": self.training.model_dump(mode="json"),
        }


def term_name(term: Term) -> str:
    """Return the name a recipe calls a term by: its file in `objectives/`."""
    return type(term).__module__.rpartition(".")[2]


def read(path: Path) -> RecipeFile:
    """Read a recipe file.

    Raises:
        UserError: for a file that cannot be read, is not TOML, or has unknown keys or wrong types; all problems at once.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            f"methods/{path.name}", f"cannot be read as TOML: {error}", "mend the file; see methods/README.md"
        ) from error
    return validated(RecipeFile, raw, path.name)


def variants(path: Path) -> Iterator[Recipe]:
    """Yield the methods of a recipe file: the recipe itself, its ablations, its swept values."""
    file = read(path)
    body = file.model_dump(exclude={"backbones", "ablations", "sweeps"}, exclude_unset=True)
    base = Recipe(path.stem, path.stem, "", body, file.backbones)
    yield base
    for name, overlay in file.ablations.items():
        yield replace(base, method=f"{path.stem}-{name}", ablation=name, overlays=(overlay,))
    for key, values in file.sweeps.items():
        yield from (base.set(key, value) for value in values)


def resolve(recipe: Recipe, shape: Shape, backbone: str, overrides: Raw | None = None) -> Resolved:
    """Resolve a recipe on a backbone: overlays applied, defaults replaced by numbers, everything checked.

    Args:
        recipe: the method.
        shape: of the backbone.
        backbone: its table name, for what a recipe changes on known backbones.
        overrides: training settings given on the command line; they stand above the recipe's own.

    Raises:
        UserError: all problems at once, each with the recipe key, both values, and what to do.
    """
    raw = dict(recipe.body)
    for overlay in (recipe.backbones.get(backbone, {}), *recipe.overlays, {"training": overrides or {}}):
        raw = _merged(raw, overlay)
    file = validated(RecipeFile, raw, recipe.method)
    training = validated(Training, file.training, f"{recipe.method}: training")
    nesting = Nesting(shape, _dims(recipe.method, file.dims, shape), file.temperature)
    problems: list[UserError] = []
    resolved: dict[str, Term] = {}
    for name, settings in file.terms.items():
        try:
            term = _term(f"{recipe.method}: terms.{name}", name, settings, file.alpha)
            if term.weight > 0:
                resolved[name] = term.resolved(nesting)
        except UserError as error:
            problems.append(error)
    raise_all(problems)
    names = (recipe.method, recipe.base_method, recipe.ablation)
    return Resolved(*names, file.title, file.source, file.deviations, nesting, resolved, training)


def validated(model: type[M], raw: Mapping[str, Any], where: str) -> M:
    """Build a model from plain data, turning every complaint into one part of a `UserError`."""
    try:
        return model(**raw)
    except ValidationError as error:
        raise_all([_complaint(model, problem, where) for problem in error.errors()])
        raise


def _complaint(model: type[BaseModel], problem: Any, where: str) -> UserError:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return unknown("key", key, model.model_fields, where)
    found = "" if problem["type"] == "missing" else f", found {problem['input']!r}"
    return UserError(
        f"{where}: {key}", f"{problem['msg']}{found}", "see methods/README.md for the keys and their values"
    )


def _term(where: str, name: str, settings: Any, alpha: float | None) -> Term:
    if not isinstance(settings, dict):
        raise UserError(where, f"is {settings!r}, not a table", f"write [terms.{name}] and its keys below it")
    settings = dict(settings)
    kind = settings.pop("term", name)
    if kind not in terms():
        raise unknown("term", kind, terms(), where)
    weight = settings.get("weight", 1.0)
    if isinstance(weight, str):
        if alpha is None or weight not in ("alpha", "1 - alpha"):
            what = f"weight is {weight!r}" + ("" if alpha is not None else " and the recipe has no alpha")
            raise UserError(
                f"{where}.weight", what, 'give a number, or "alpha" or "1 - alpha" with alpha set in the recipe'
            )
        settings["weight"] = alpha if weight == "alpha" else 1 - alpha
    return validated(terms()[kind], settings, where)


def _dims(method: str, dims: Literal["default", "full"] | Dims, shape: Shape) -> tuple[int, ...]:
    if dims == "default":
        return default_dims(shape.width)
    if dims == "full":
        return (shape.width,)
    if list(dims) != sorted(set(dims)):
        raise UserError(f"{method}: dims", f"{list(dims)} are unsorted or repeated", f"write {sorted(set(dims))}")
    if not dims or dims[-1] > shape.width:
        what = f"width {dims[-1] if dims else 'none'} is above the backbone's width {shape.width}"
        raise UserError(f"{method}: dims", what, f"use widths of 1..{shape.width}")
    return tuple(dims)


def _merged(base: Raw, overlay: Raw) -> Raw:
    """Return base with the overlay's keys put over it, tables merged key by key."""
    merged = dict(base)
    for key, value in overlay.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both_tables else value
    return merged


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
