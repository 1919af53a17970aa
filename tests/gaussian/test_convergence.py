"""The estimate of what remains, on sequences whose end is known."""

import numpy as np
import pytest

from cmbinpaint.gaussian.convergence import SLOWEST_RATIO, Convergence, describe_shortfall


def follow(changes, std=2.0):
    watch = Convergence(np.zeros(2, int), np.array([std]))
    told = [watch.record(np.array([std * change, -std * change])) for change in changes]
    return watch, told


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_a_geometric_fall_is_summed_exactly(ratio):
    changes = ratio ** np.arange(8.0)
    watch, told = follow(changes)
    np.testing.assert_allclose(told, changes, rtol=1e-12)
    assert watch.remaining == pytest.approx(np.sum(ratio ** np.arange(8.0, 400.0)), rel=1e-9)


def test_bursts_are_averaged_and_the_largest_of_the_last_steps_counts():
    """Ratios by hand: a fall to 0.01 in three steps is 0.2154 each; 0.8, two steps ago, is 0.0371 at that ratio."""
    watch, _ = follow([1.0, 0.8, 0.1, 0.01])
    ratio = 0.01 ** (1 / 3)
    assert watch.remaining == pytest.approx(0.8 * ratio**2 * ratio / (1 - ratio), rel=1e-9)
    assert watch.remaining == pytest.approx(0.0102, rel=0.01)


def test_what_was_long_ago_counts_no_more():
    """The ratio is that of the last eight steps, and of the last quarter of a long iteration."""
    watch, _ = follow([1e9, 1e6, *0.5 ** np.arange(9)])
    assert watch.remaining == pytest.approx(0.5**8, rel=1e-9)
    watch, _ = follow([*0.5 ** np.arange(60), *(0.5**60 * 0.9 ** np.arange(40))])
    assert watch.remaining == pytest.approx(0.5**60 * 0.9**39 * 0.9 / 0.1, rel=1e-9)


def test_growth_and_plateaus_do_not_end_it():
    watch, _ = follow([0.1, 0.1, 0.2])
    assert watch.remaining == pytest.approx(0.2 * SLOWEST_RATIO / (1 - SLOWEST_RATIO))


def test_two_steps_tell_nothing_and_rest_is_the_end():
    assert np.isnan(follow([1.0, 1e-6])[0].remaining)
    assert follow([0.0])[0].remaining == 0.0


def test_the_worst_bin_counts_in_its_own_measure():
    """Many deep pixels at rest must not hide a rim that moves by much of the little that is not known of it."""
    watch = Convergence(np.array([0] + [2] * 99), np.array([0.1, 7.0, 10.0]))
    for change in (0.4, 0.2, 0.1):
        told = watch.record(np.array([change] + [change] * 99))
    assert told == pytest.approx(1.0)
    assert watch.remaining == pytest.approx(1.0)


def test_a_shortfall_says_both_numbers():
    watch, _ = follow([0.04, 0.02, 0.01])
    assert describe_shortfall(30, watch, 1e-3) == (
        "after 30 steps an estimated 1.0e-02 posterior standard deviations are still to change in the holes; asked "
        "for 1.0e-03. Noise that is given far too small is the usual cause, or power in the map beyond the beam that "
        "is given: give noise_std as it is in the map (left out, it is estimated)"
    )
    assert "too little is known to say" in describe_shortfall(10, follow([1.0])[0], 1e-3)
    watch = Convergence(np.zeros(2, int), np.ones(1), power_tolerance=0.01)
    for _ in range(3):
        watch.record(np.zeros(2), np.array([0.5, 0.1]))
    q = SLOWEST_RATIO  # and squares are summed
    assert not watch.has_reached(1e-3) and watch.power == pytest.approx(0.25 * q**2 / (1 - q**2))
    assert "of the sky's E or B power in some band; asked for 1.0e-02" in describe_shortfall(30, watch, 1e-3)


def test_b_power_is_waited_for_when_q_and_u_are_settled():
    watch = Convergence(np.zeros(2, int), np.ones(1), power_tolerance=0.01)
    assert not watch.has_reached(np.inf)  # nothing is known of it yet
    for amplitude in 0.5 ** np.arange(8):
        watch.record(np.zeros(2), np.array([1e-3 * amplitude, amplitude]))
        assert watch.has_reached(1e-3) == (watch.power <= 0.01)
    assert watch.power == pytest.approx(0.25**7 / 3) and watch.has_reached(1e-3)
    assert Convergence(np.zeros(2, int), np.ones(1)).power == 0.0  # of T alone nothing is asked
