"""Texts become vectors: each unique text once, and every (layer, dim) budget a view of the result."""
