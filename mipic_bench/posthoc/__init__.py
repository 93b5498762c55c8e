"""Transforms of finished embeddings: fitted on training text only, layer by layer, and applied before scoring.

To add one: write `posthoc/<name>.py` with one leaf class of `Transform` (its fields are the settings a recipe may give) and its
test in `tests/oracle/test_posthoc.py`. A recipe names it by its file name: `[posthoc] transform = "<name>"`.
What it returns, a `Fitted`, is exported as it is if it is an affine map; else it says how it is made of some (`affine_maps`).
"""

from mipic_bench.posthoc._kept import keep, kept, place
from mipic_bench.posthoc._transform import Affine, Fitted, LinearMap, Transform, transforms

__all__ = ["Affine", "Fitted", "LinearMap", "Transform", "keep", "kept", "place", "transforms"]
