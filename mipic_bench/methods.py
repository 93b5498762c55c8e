"""The methods by name: every TOML file in `methods/`, its ablations and swept values, or a file of the user's own."""

import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from mipic_bench.errors import UserError, unknown
from mipic_bench.paths import shipped
from mipic_bench.posthoc import transforms
from mipic_bench.recipe import Recipe, variants
from mipic_bench.schema import Training


@cache
def catalog() -> dict[str, Recipe]:
    """Read every shipped recipe: method name -> recipe, ablations and swept values included."""
    files = sorted(shipped("methods").glob("*.toml"), key=lambda path: path.stem)
    return {recipe.method: recipe for file in files for recipe in variants(file)}


def find(specs: Sequence[str], changes: Sequence[str] = ()) -> list[Recipe]:
    """Return the methods that the given names, globs or TOML files stand for, each once, in order.

    Args:
        specs: method names ("mipic-no-pic", "mipic-alpha=0.5"), globs ("mipic*") or paths of TOML files.
        changes: TOML assignments put over each ("terms.attention.weight = 0.5"), as `--set` takes them.

    Raises:
        UserError: for an unknown name (did you mean), a file that is not there, or a change that is not TOML.
    """
    found: dict[str, Recipe] = {}
    for spec in specs:
        found.update({recipe.method: recipe for recipe in _match(spec)})
    pairs = [pair for change in changes for pair in parse_change(change)]
    for key, value in pairs:
        found = {recipe.method: recipe for recipe in (old.set(key, value) for old in found.values())}
    return list(found.values())


def parse_change(text: str) -> list[tuple[str, Any]]:
    """Read one `--set` in TOML grammar as (dotted key, value) pairs."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            "--set", f"'{text}' is not TOML: {error}", "write --set 'terms.attention.weight = 0.5'"
        ) from error
    return list(_leaves(table, ""))


def _leaves(table: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in table.items():
        dotted = f"{prefix}{key}"
        pairs += _leaves(value, f"{dotted}.") if isinstance(value, dict) else [(dotted, value)]
    return pairs


def _match(spec: str) -> list[Recipe]:
    if spec.endswith(".toml"):
        path = Path(spec)
        if not path.is_file():
            raise UserError(
                "--method", f"there is no file '{path.name}'", "give the path of a TOML recipe, or a method's name"
            )
        return list(variants(path))[:1]
    if any(sign in spec for sign in "*?["):
        matches = [recipe for name, recipe in catalog().items() if fnmatchcase(name, spec)]
        if not matches:
            raise unknown("method", spec, catalog(), "--method")
        return matches
    if spec in catalog():
        return [catalog()[spec]]
    return [_swept(spec)]


def _swept(spec: str) -> Recipe:
    """Return the recipe for a name such as mipic-alpha=0.35: a method, then one changed key."""
    head, sign, value = spec.partition("=")
    for cut in [place for place in reversed(range(len(head))) if head[place] == "-"] if sign else []:
        if head[:cut] in catalog():
            base = catalog()[head[:cut]]
            [(key, plain)] = parse_change(f"{head[cut + 1 :]} = {value}")
            return base.set(_full_key(base, key), plain)
    raise unknown("method", spec, catalog(), "--method")


def _full_key(recipe: Recipe, short: str) -> str:
    """Return the dotted key that a swept value's name shortens: attention.temperature -> terms.attention.temperature."""
    head = short.partition(".")[0]
    if head in recipe.raw.get("terms", {}):
        return f"terms.{short}"
    if head in Training.model_fields:
        return f"training.{short}"
    transform = transforms().get(recipe.raw.get("posthoc", {}).get("transform", ""))
    return f"posthoc.{short}" if transform is not None and head in transform.model_fields else short
