"""What planning must know of a backbone, told without building it: transformers alone takes seconds to load."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mipic_bench.backbones import digests, folder
from mipic_bench.backbones.loading import check_file, check_words, load, settle, weights_of
from mipic_bench.backbones.readout import Readout
from mipic_bench.backbones.sources import locate
from mipic_bench.shapes import Shape


@dataclass(frozen=True)
class Card:
    """A backbone's facts; attributes as those of `Backbone`."""

    name: str
    shape: Shape
    readout: Readout
    has_dropout: bool
    weights_digest: str
    tokenizer_digest: str
    notes: tuple[str, ...] = ()
    unapplied: tuple[str, ...] = ()  # modules of its folder that change vectors and are not applied
    own_length: int | None = None  # tokens that its folder says it keeps of a text
    own_width: int | None = None  # coordinates that its folder cuts vectors to


def card(name: str, *, pooling: str | None = None, offline: bool = False, verify: bool = False) -> Card:
    """Return a backbone's facts. What has to be built to be known is remembered by its config.json and transformers' version.

    Args:
        name, pooling, offline, verify: as `load` takes them.

    Raises:
        UserError: as `load`, as far as it shows without the weights.
    """
    check_words(name, pooling)
    if name == "tiny":
        return _built(name, pooling, offline)
    located = locate(name, offline)
    files = folder.read(located.folder)
    config = files.transformer / "config.json"
    if not config.is_file():
        return _built(name, pooling, offline)  # which says so

    check_file(located, files, verify)
    weights, where = weights_of(located, files, verify), f"backbone {located.name}"

    def found(_: Path) -> dict[str, Any]:
        built = load(name, offline=offline, weights=False)
        norm = built.final_norm is not None
        return {**vars(built.shape), "dropout": built.has_dropout, "causal": built.causal, "normed": norm}

    layers = located.entry.layers if located.entry is not None else None
    facts = digests.remembered(f"facts {metadata.version('transformers')} {layers}", config, found, verify)
    return Card(
        located.name,
        Shape(facts["depth"], facts["width"]),
        settle(located, files, pooling, None, causal=facts["causal"], normed=facts["normed"]),
        facts["dropout"],
        weights,
        digests.tokenizer_digest(files.transformer, where, files.lowercase),
        files.notes,
        files.unapplied,
        files.own_length,
        files.own_width,
    )


def _built(name: str, pooling: str | None, offline: bool) -> Card:
    one = load(name, pooling=pooling, offline=offline, weights=False)
    return Card(one.name, one.shape, one.readout, one.has_dropout, one.weights_digest, one.tokenizer_digest, one.notes)
