"""A recipe on a backbone: overlays applied, defaults replaced by numbers, everything checked. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.objectives import Nesting, Term, terms
from mipic_bench.posthoc import Transform, transforms
from mipic_bench.recipes.recipe import Recipe, RecipeFile, merged
from mipic_bench.recipes.schema import Raw, Training, validated
from mipic_bench.settings import Dims
from mipic_bench.shapes import Shape, default_dims

if TYPE_CHECKING:
    import torch

    from mipic_bench.states import States


_OF_ALPHA = ("alpha", "1 - alpha")  # what a term's weight may be instead of a number


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
    posthoc: Transform | None = None
    per_dim: Mapping[int, "Resolved"] = field(default_factory=dict)  # procedure "per-dim": the recipe of each width

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.terms)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose hidden states training needs."""
        return tuple(sorted({layer for term in self.terms.values() for layer in term.layers(self.nesting)}))

    @property
    def needs_teacher(self) -> bool:
        """Whether a term reads the vectors of the backbone as it was before training."""
        return any(term.needs_teacher for term in self.terms.values())

    def values(self, states: "States", heads: "torch.nn.ModuleDict") -> "dict[str, torch.Tensor]":
        """Return every term's unweighted value on a batch."""
        own = {name: heads[name] for name in self.terms if name in heads}
        return {name: term.loss(states, self.nesting, own.get(name)) for name, term in self.terms.items()}

    def identity(self) -> Raw:
        """Return what decides the trained numbers, as plain data for the key and the provenance."""
        own: Raw = {}
        if self.posthoc is not None:
            version = self.posthoc.version
            settings = self.posthoc.model_dump(mode="json")
            own["posthoc"] = {"transform": term_name(self.posthoc), "version": version, **settings}
            own["dims"] = list(self.nesting.dims)
        if not self.trains:
            seeded = {"seeded": True} if self.posthoc is not None and self.posthoc.random else {}
            return {"pooling": self.training.pooling, **seeded, **own}
        if self.per_dim:
            own["procedure"] = "per-dim"
        return {
            **own,
            "dims": list(self.nesting.dims),
            "temperature": self.nesting.temperature,
            "terms": {
                name: {"term": term_name(term), "version": term.version, **term.model_dump(mode="json")}
                for name, term in self.terms.items()
            },
            "training": self.training.identity(),
        }


def term_name(part: Term | Transform) -> str:
    """Return the name a recipe calls a term or transform by: its file in `objectives/` or `posthoc/`."""
    return type(part).__module__.rpartition(".")[2]


def resolve(recipe: Recipe, shape: Shape, backbone: str, overrides: Raw | None = None) -> Resolved:
    """Resolve a recipe on a backbone: overlays applied, defaults replaced by numbers, everything checked.

    Args:
        recipe: the method.
        shape: of the backbone.
        backbone: its table name, for what a recipe changes on known backbones.
        overrides: training settings given on the command line; they stand above the recipe's own, but for a value that
            the method's name gives.

    Raises:
        UserError: all problems at once, each with the recipe key, both values, and what to do.
    """
    raw = dict(recipe.body)
    options = {"training": overrides or {}}
    known = recipe.backbones.get(backbone, {})
    if any("dims" in overlay for overlay in (*recipe.overlays, *recipe.values)):
        known = _without_pairs(known)
    for overlay in (known, *recipe.overlays, options, *recipe.values):
        raw = merged(raw, overlay)
    file = validated(RecipeFile, raw, recipe.method)
    training = validated(Training, file.training, f"{recipe.method}: training")
    nesting = Nesting(shape, _dims(recipe.method, file.dims, shape), file.temperature)
    names = (recipe.method, recipe.base_method, recipe.ablation)
    resolved = Resolved(
        *names,
        file.title,
        file.source,
        file.deviations,
        nesting,
        _terms(recipe.method, file, nesting),
        training,
        _posthoc(recipe.method, file.posthoc),
    )
    if resolved.terms and not resolved.layers:
        what = "its terms read no layer of this backbone, so there is nothing to train"
        raise UserError(f"{recipe.method}: terms", what, "give a term more layers or checkpoints, or another term")
    _check_alpha(recipe, file)
    if file.procedure == "joint":
        return resolved
    alone = {dim: replace(nesting, dims=(dim,)) for dim in nesting.dims}
    per_dim = {dim: replace(resolved, nesting=n, terms=_terms(recipe.method, file, n)) for dim, n in alone.items()}
    return replace(resolved, per_dim=per_dim)


def _without_pairs(overlay: Raw) -> Raw:
    """Leave out the (dim, layer) pairs that a recipe lists for a backbone: they are of its own widths, not of those set."""
    return {
        key: _without_pairs(value) if isinstance(value, dict) else value
        for key, value in overlay.items()
        if not (isinstance(value, list) and any(isinstance(item, list) for item in value))
    }


def _terms(method: str, file: RecipeFile, nesting: Nesting) -> dict[str, Term]:
    """Return the terms of a recipe that weigh anything, resolved; all problems at once."""
    problems: list[UserError] = []
    resolved: dict[str, Term] = {}
    for name, settings in file.terms.items():
        where = f"{method}: terms.{name}"
        try:
            term = _term(where, name, settings, file.alpha)
        except UserError as error:
            problems.append(error)
            continue
        try:
            if term.weight > 0:
                resolved[name] = term.resolved(nesting)
        except UserError as error:
            problems.append(UserError(f"{where}.{error.where}", error.what, error.fix))
    raise_all(problems)
    return resolved


def _check_alpha(recipe: Recipe, file: RecipeFile) -> None:
    """Refuse an alpha that changes nothing. In a recipe that uses it, `--set` may put numbers over every weight that does."""
    given = (*recipe.body.get("terms", {}).values(), *file.terms.values())
    used = any(isinstance(term, dict) and term.get("weight") in _OF_ALPHA for term in given)
    if file.alpha is not None and not used:
        what = f'is {file.alpha:g}, and no term\'s weight is "alpha" or "1 - alpha"'
        raise UserError(f"{recipe.method}: alpha", what, 'take it out, or give a term the weight "alpha"')


def _posthoc(method: str, settings: Raw) -> Transform | None:
    """Return the post-hoc transform of a recipe, if it names one."""
    if not settings:
        return None
    settings, where = dict(settings), f"{method}: posthoc"
    kind = settings.pop("transform", None)
    if kind is None:
        raise UserError(where, "names no transform", f"write transform = one of {', '.join(transforms())}")
    if str(kind) not in transforms():
        raise unknown("transform", str(kind), transforms(), where)
    return validated(transforms()[kind], settings, where)


def _term(where: str, name: str, settings: Any, alpha: float | None) -> Term:
    if not isinstance(settings, dict):
        raise UserError(where, f"is {settings!r}, not a table", f"write [terms.{name}] and its keys below it")
    if not name or "." in name:  # `--set` and torch take a dot for the end of a name
        raise UserError(where, f"{name!r} is no name of a term", "name it without dots, such as chain-short")
    settings = dict(settings)
    kind = str(settings.pop("term", name))
    if kind not in terms():
        raise unknown("term", kind, terms(), where)
    weight = settings.get("weight", 1.0)
    if isinstance(weight, str):
        if alpha is None or weight not in _OF_ALPHA:
            what = f"weight is {weight!r}" + ("" if alpha is not None else " and the recipe has no alpha")
            raise UserError(
                f"{where}.weight", what, 'give a number, or "alpha" or "1 - alpha" with alpha set in the recipe'
            )
        settings["weight"] = alpha if weight == "alpha" else 1 - alpha
    if "temperature" in settings and not terms()[kind].reads_temperature:
        raise UserError(f"{where}.temperature", f"is {settings['temperature']!r}, and {kind} reads none", "take it out")
    return validated(terms()[kind], settings, where)


def _dims(method: str, dims: Literal["default", "full"] | Dims, shape: Shape) -> tuple[int, ...]:
    if dims == "default":
        return default_dims(shape.width)
    if dims == "full":
        return (shape.width,)
    if list(dims) != sorted(set(dims)):
        raise UserError(f"{method}: dims", f"{list(dims)} are unsorted or repeated", f"write {sorted(set(dims))}")
    if not dims or dims[-1] > shape.width:
        what = f"width {dims[-1]} is above the backbone's width {shape.width}" if dims else "is [], no width at all"
        raise UserError(f"{method}: dims", what, f"use widths of 1..{shape.width}")
    return tuple(dims)
