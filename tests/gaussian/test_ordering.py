"""The order from coarse to fine."""

import healpy as hp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.gaussian.ordering import coarse_to_fine

cases = st.tuples(st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 2**31))


@settings(max_examples=40, deadline=None)
@given(cases)
def test_each_pixel_is_taken_once_and_coarse_ones_first(case):
    nside, seed = case
    nest = np.flatnonzero(np.random.default_rng(seed).uniform(size=12 * nside**2) < 0.5)
    order, groups = coarse_to_fine(nside, nest)
    assert np.array_equal(np.sort(order), np.arange(nest.size))
    assert [start for start, _, _ in groups] == [0, *(stop for _, stop, _ in groups)][: len(groups)]
    assert all(stop > start for start, stop, _ in groups)
    assert sum(stop - start for start, stop, _ in groups) == nest.size
    spacings = [spacing for _, _, spacing in groups]
    assert spacings == sorted(spacings, reverse=True)


def test_members_of_a_group_lie_apart():
    nside = 32
    nest = np.arange(12 * nside**2)
    order, groups = coarse_to_fine(nside, nest)
    for start, stop, spacing in groups:
        members = np.stack(hp.pix2vec(nside, nest[order[start:stop]], nest=True), axis=-1)
        if len(members) == 1:
            continue
        gram = np.clip(members @ members.T, -1, 1)
        np.fill_diagonal(gram, -1)
        # Children of the same number are two of their own sides apart, but where base pixels meet at a pole.
        assert np.arccos(gram.max()) > 1.1 * spacing * hp.nside2resol(nside)
