"""What is no longer the same between a finished run and what is asked for now, in sentences with both values."""

from collections.abc import Iterator, Mapping
from typing import Any

from mipic_bench.recipes.schema import flat

_SAID = {
    "trainer": "the training loop's version",
    "dtype": "dtype",
    "backbone.pooling": "pooling",
    "recipe.pooling": "pooling",
    "backbone.layer_readout": "the layer readout",
    "max_length": "max_length",
}
_SHOWN = 3


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say what decides the numbers and differs between two identities (see `request.Cell`); empty when nothing does."""
    said = list(dict.fromkeys(_sentences(old, new)))
    return "; ".join(said[:_SHOWN]) + (f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")


def count(old: Any, new: Any, noun: str = "rows") -> str:
    """Say how a number of rows changed: "15458 -> 15460 rows", or that it stayed while the content changed."""
    if old is None:
        return f"now {new} {noun}"
    return f"{new} {noun} as before, with other content" if old == new else f"{old} -> {new} {noun}"


def _sentences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if (before := old.get("corpus") or {}) != (after := new.get("corpus") or {}):
        yield f"corpus changed: {count(before.get('rows'), after.get('rows'))}"
    flat_old, flat_new = ({key: _plain(value) for key, value in flat(one).items()} for one in (old, new))
    terms_old, terms_new = _terms(old), _terms(new)
    for name in sorted(terms_old ^ terms_new):
        yield f"term {name} is {'new' if name in terms_new else 'gone'}"
    for key in sorted(flat_old | flat_new):
        one, other = flat_old.get(key), flat_new.get(key)
        term = key.split(".")[2] if key.startswith("recipe.terms.") else ""
        if one != other and not key.startswith("corpus.") and term not in terms_old ^ terms_new:
            yield _changed(key, one, other)


def _changed(key: str, old: Any, new: Any) -> str:
    if key in ("backbone.weights", "backbone.tokenizer"):
        what = "weights or configuration are" if key.endswith("weights") else "tokenizer is"
        return f"the backbone's {what} not the same (sha256 {str(old)[:8]} -> {str(new)[:8]})"
    if key.startswith("recipe.terms.") and key.endswith(".version"):
        return f"the version of term {key.split('.')[2]} changed: {old} -> {new}"
    name = _SAID.get(key, key.removeprefix("recipe.").removeprefix("training."))
    return f"{name} changed: {_short(old)} -> {_short(new)}"


def _terms(identity: Mapping[str, Any]) -> set[str]:
    return set((identity.get("recipe") or {}).get("terms") or {})


def _plain(value: Any) -> Any:
    """Return a value as it comes back from JSON: sequences as lists."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _short(value: Any) -> str:
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text[:37]}..." if len(text) > 40 else text
