"""A recipe: one method as data. A TOML file in `methods/` is read here; `resolved.py` makes numbers of it on a backbone.

title, source, about, deviations    what the method is, where it comes from, which variant this is
dims            "default" | "full" | rising widths that are trained
alpha           may stand in a term's weight as "alpha" or "1 - alpha"
procedure       "joint" (one model) | "per-dim" (one model per width)
[terms.NAME]    term = file name in objectives/ (default: NAME), weight, and the term's own settings
[posthoc]       transform = file name in posthoc/ and its settings: fitted on training text, applied to the embeddings
[training]      only what the method itself demands; everything else is the common default (`schema.py`)
[backbones.X]   what changes on a known backbone          [ablations.Y]   named changes; a method of its own, <recipe>-Y
[sweeps]        KEY = [values]; each is a method named <recipe>-KEY=VALUE
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mipic_bench.errors import UserError
from mipic_bench.posthoc import transforms
from mipic_bench.recipes.schema import Raw, Training, validated
from mipic_bench.settings import Dims, Positive, Share

# the tables of a recipe, each with an assignment in it
_TABLES = {
    "terms": "terms.mrl.weight = 1",
    "training": "training.epochs = 1",
    "posthoc": 'posthoc.transform = "pca"',
}


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
    procedure: Literal["joint", "per-dim"] = "joint"
    terms: Raw = {}
    posthoc: Raw = {}
    training: Raw = {}
    backbones: dict[str, Raw] = {}
    ablations: dict[str, Raw] = {}
    sweeps: dict[str, list[Any]] = {}


@dataclass(frozen=True)
class Recipe:
    """A method before it meets a backbone: the file's own keys and what is put over them, in order.

    Attributes:
        overlays: of a named ablation; training options of the command line stand above them.
        values: single keys whose values are part of the method's name, and so stand above everything.
    """

    method: str
    base_method: str
    ablation: str
    body: Raw
    backbones: Mapping[str, Raw]
    overlays: tuple[Raw, ...] = ()
    values: tuple[Raw, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether the method has any term that weighs anything, and so trains."""
        raw = self.raw
        alpha = raw.get("alpha")
        nothing = [0, *(["alpha"] if alpha == 0 else ["1 - alpha"] if alpha == 1 else [])]
        return any(
            not isinstance(term, dict) or term.get("weight") not in nothing for term in raw.get("terms", {}).values()
        )

    @property
    def fits(self) -> bool:
        """Whether the method has a post-hoc transform, and so is fitted on a corpus."""
        return bool(self.raw.get("posthoc"))

    @property
    def seeded(self) -> bool:
        """Whether anything is drawn at random, so that the method has a model per seed."""
        transform = transforms().get(str(self.raw.get("posthoc", {}).get("transform")))
        return self.trains or (transform is not None and transform.random)

    @property
    def raw(self) -> Raw:
        """The keys of the file with the overlays put over them.

        Raises:
            UserError: an overlay puts something else in the place of a table.
        """
        raw = self.body
        for overlay in (*self.overlays, *self.values):
            raw = merged(raw, overlay)
        for table in _TABLES:
            if not isinstance(raw.get(table, {}), dict):
                what = f"is {raw[table]!r}, not a table"
                raise UserError(f"{self.method}: {table}", what, f"give keys of it, such as {_TABLES[table]}")
        return raw

    def set(self, key: str, value: Any) -> "Recipe":
        """Return the recipe with one dotted key changed; the method's name says so, and `methods.find` reads it back.

        The name has the key without its table where that is enough to find it.
        """
        head, _, rest = key.partition(".")
        short = rest if head in _TABLES and full_key(self, rest) == key else key
        suffix = f"{short}={_plain(value)}"
        overlay: Raw = value
        for part in reversed(key.split(".")):
            overlay = {part: overlay}
        return replace(
            self,
            method=f"{self.method}-{suffix}",
            ablation=f"{self.ablation}-{suffix}".lstrip("-"),
            values=(*self.values, overlay),
        )


def read(path: Path) -> RecipeFile:
    """Read a recipe file.

    Raises:
        UserError: for a file that cannot be read, is not TOML, or has unknown keys or wrong types; all problems at once.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            path.name, f"cannot be read as TOML: {error}", "mend the file; see methods/README.md"
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


def full_key(recipe: Recipe, short: str) -> str:
    """Return the dotted key that a method's name shortens: attention.temperature -> terms.attention.temperature.

    The first that knows the key: the terms of the recipe, the recipe itself, the training settings, its transform.
    """
    head = short.partition(".")[0]
    if head in recipe.raw.get("terms", {}):
        return f"terms.{short}"
    if head in RecipeFile.model_fields:
        return short
    if head in Training.model_fields:
        return f"training.{short}"
    transform = transforms().get(str(recipe.raw.get("posthoc", {}).get("transform")))
    return f"posthoc.{short}" if transform is not None and head in transform.model_fields else short


def merged(base: Raw, overlay: Raw) -> Raw:
    """Return base with the overlay's keys put over it, tables merged key by key."""
    result = dict(base)
    for key, value in overlay.items():
        both_tables = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both_tables else value
    return result


def _plain(value: Any) -> str:
    """Return a value as names have it: in TOML without spaces, a single word without quotes."""
    if isinstance(value, str) and value.isidentifier() and value not in ("true", "false", "inf", "nan"):
        return value
    if isinstance(value, (bool, str, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)
