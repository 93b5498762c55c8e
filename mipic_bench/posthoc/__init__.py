"""Transforms of finished embeddings: fitted on training text only, layer by layer, and applied before scoring.

To add one: write `posthoc/<name>.py` with one leaf class of `Transform` (its fields are the settings a recipe may give) and its
test in `tests/oracle/test_posthoc.py`. A recipe names it by its file name: `[posthoc] transform = "<name>"`.
"""

from mipic_bench.posthoc._kept import keep, kept, place
from mipic_bench.posthoc._transform import Fitted, LinearMap, Transform, transforms

__all__ = ["Fitted", "LinearMap", "Transform", "keep", "kept", "place", "transforms"]
