"""What options mean, as Python gives them."""

from pathlib import Path

import pytest

from mipic_bench.planning.parsing import funnels, words


@pytest.mark.parametrize("names", ["a/b", Path("a/b"), ["a/b"], [Path("a/b")], (Path("a/b"),)])
def test_a_path_is_one_name(names):
    assert words(names) == ["a/b"]


def test_a_funnel_that_is_named_twice_is_one():
    assert funnels(["8:2,64", "64", "8:2, 64"]) == [((8, 64), (2,)), ((64,), ())]
