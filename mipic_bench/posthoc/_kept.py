"""Fitted transforms on disk: one safetensors file per run, arrays by layer and name, with a sha256 over them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mipic_bench.posthoc._transform import Fitted, Transform
from mipic_bench.results import commit


def place(weights: Path) -> Path:
    """Return where a run's fitted transform is kept: beside the folder that its trained weights have, or would have."""
    return weights.with_name(f"{weights.name}--posthoc.safetensors")


def keep(path: Path, fitted: Mapping[int, Fitted], weights: str) -> None:
    """Write what was fitted, layer -> fitted; a file that stands there is replaced.

    Args:
        path: the file.
        fitted: by layer.
        weights: digest of the backbone's weights, whose vectors it was fitted on.

    Raises:
        UserError: the folder or the disk does not take it.
    """
    arrays = {
        f"{layer}/{name}": np.array(value, order="C")
        for layer, one in fitted.items()
        for name, value in one.arrays().items()
    }
    commit.write(path, save(arrays, {"weights": weights, "sha256": _digest(arrays)}))


def kept(path: Path, transform: Transform, weights: str) -> dict[int, Fitted]:
    """Return what was kept, layer -> fitted; nothing if it is not there, damaged, or was fitted on other weights."""
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError):
        return {}
    if said.get("weights") != weights or said.get("sha256") != _digest(arrays):
        return {}
    layers: dict[int, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        layer, _, name = key.partition("/")
        layers.setdefault(int(layer), {})[name] = value
    return {layer: transform.fitted.restored(own) for layer, own in sorted(layers.items())}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    return commit.digest(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))
