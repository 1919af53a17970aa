"""The order of patches: nothing twice before all once, and every class in a balanced batch."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.order import balanced_order, plain_order


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 30), size=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_all_come_once_before_any_comes_again(n: int, size: int, seed: int) -> None:
    batches = [plain_order(n, size, index, (seed, 0)) for index in range(2 * n)]
    stream = np.concatenate(batches)
    for start in range(0, stream.size - n + 1, n):
        assert sorted(stream[start : start + n].tolist()) == list(range(n))


def test_epochs_splits_and_seeds_differ() -> None:
    orders = [
        plain_order(50, 50, index, key) for index, key in [(0, (0, 0)), (1, (0, 0)), (0, (0, 1)), (0, (1, 0))]
    ]
    assert len({tuple(order.tolist()) for order in orders}) == 4


@settings(deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    extra=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_balanced_batches(counts: list[int], extra: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    size = len(counts) + extra
    batches = [balanced_order(labels, size, index, (seed, 0)) for index in range(20)]
    for batch in batches:
        assert batch.shape == (size,) and set(labels[batch].tolist()) == set(range(len(counts)))
    stream = np.concatenate(batches)
    shares = np.bincount(labels[stream], minlength=len(counts))
    assert shares.max() - shares.min() <= 1
    for label, count in enumerate(counts):
        own = stream[labels[stream] == label]
        for start in range(0, own.size - count + 1, count):
            assert len(set(own[start : start + count].tolist())) == count


def test_any_batch_can_be_asked_for_alone() -> None:
    labels = np.repeat(np.arange(10), 7)
    late = balanced_order(labels, 16, 123_456, (3, 1))
    np.testing.assert_array_equal(late, balanced_order(labels, 16, 123_456, (3, 1)))


def test_a_batch_too_small_for_the_classes() -> None:
    text = "batch_size is 3 and there are 4 classes; a balanced batch holds every class: give a larger one"
    with pytest.raises(RecipeError, match=re.escape(text)):
        balanced_order(np.arange(4), 3, 0, (0, 0))
