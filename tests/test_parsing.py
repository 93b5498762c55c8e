"""What options mean, as Python gives them."""

from pathlib import Path

import pytest

from mipic_bench.planning.parsing import words


@pytest.mark.parametrize("names", ["a/b", Path("a/b"), ["a/b"], [Path("a/b")], (Path("a/b"),)])
def test_a_path_is_one_name(names):
    assert words(names) == ["a/b"]
