"""The public function `chain_info_nce` against the loops: values and gradients."""

import loops
import pytest
from inputs import WIDTH, compare, normal

from mipic_bench.objectives import chain_info_nce


@pytest.mark.parametrize("batch", [2, 5])
def test_chain_info_nce(batch):
    compare(
        lambda s, t: chain_info_nce(s, t, 0.05),
        lambda s, t: loops.chain_info_nce(s, t, 0.05),
        [normal(batch, WIDTH), normal(batch, WIDTH, seed=1)],
        rtol=2e-5,
        atol=2e-5,
    )
