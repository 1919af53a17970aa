"""Threads: how many work is limited where it is asked for, and only there."""

import threading

from threadpoolctl import threadpool_info, threadpool_limits

from cmbinpaint._machine import available_cores, most_threads, one_blas_thread
from cmbinpaint.sphere.harmonics import Harmonics


def blas_threads() -> set[int]:
    return {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


def test_a_limit_holds_in_its_block_and_thread() -> None:
    cores, seen = available_cores(), []
    with most_threads(1):
        assert available_cores() == 1 == Harmonics(2, 4).threads
        other = threading.Thread(target=lambda: seen.append(available_cores()))
        other.start()
        other.join()
        with most_threads(10**6):
            assert available_cores() == cores
    assert seen == [cores] and available_cores() == cores


def test_one_blas_thread_ends_with_the_last_block_of_any_thread() -> None:
    before, inside, done = blas_threads(), threading.Event(), threading.Event()

    def other() -> None:
        with one_blas_thread():
            inside.set()
            done.wait(20)

    with one_blas_thread():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(20) and blas_threads() == {1}
    assert blas_threads() == {1}, "the other thread is at work"
    done.set()
    thread.join()
    # OpenBLAS takes more threads from the thread that took them away alone.
    threadpool_limits(max(before), user_api="blas")
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {max(before)}
