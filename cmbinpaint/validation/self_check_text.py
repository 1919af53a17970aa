"""The verdict of a self-check in words.

Inputs: its numbers. Outputs: a line, a table.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cmbinpaint.validation.self_check import SelfCheck


def line(check: "SelfCheck") -> str:
    """Whether it fits, and if not where and what that may mean."""
    seen = f"{int(np.sum(check.counts))} withheld pixels, p = {check.p:.2g}"
    if check.fits:
        first = int(np.flatnonzero(check.counts)[0])
        return (
            f"beam, noise and sky model fit this map ({seen}); errors {_where(check, first)} are "
            f"{_ratio(check, first)} of what is expected"
        )
    depths, quintiles = check.odd
    found = [_odd_depth(check, int(i)) for i in np.flatnonzero(depths)]
    found = found or [_odd_coverage(check, int(i)) for i in np.flatnonzero(quintiles)]
    return f"beam, noise and sky model do NOT fit this map ({seen}): {'; '.join(found)}"


def table(check: "SelfCheck") -> str:
    """All numbers."""
    discs = f" and {check.n_discs} discs" if check.n_discs else ""
    rows = [
        str(line(check)),
        f"{check.n_holes} rotated holes{discs} withheld; {check.n_simulations} simulations",
        "",
        f"{'depth, px':<14}{'pixels':>8}  {'rms error / expected':<22}{'p':>9}  {check.model} / kriging",
    ]
    for i, name in enumerate(check.depths):
        if not check.counts[i]:
            rows.append(f"{name:<14}{0:>8}  not tested")
            continue
        rows.append(
            f"{name:<14}{int(check.counts[i]):>8}  {_ratio(check, i):<22}{check.ratio_p[i]:>9.2g}"
            f"  {check.model_ratio[i]:.3f}"
        )
    rows += ["", f"{'quintile of the prediction':<28}{'within one sigma':<22}{'expected':<10}{'p':>7}"]
    for i, covered in enumerate(check.coverage):
        rows.append(
            f"{i + 1:<28}{f'{covered:.3f} ± {check.coverage_error[i]:.3f}':<22}"
            f"{check.expected_coverage[i]:<10.3f}{check.coverage_p[i]:>7.2g}"
        )
    return "\n".join(rows)


def _ratio(check: "SelfCheck", i: int) -> str:
    digits = 2 if check.ratio_error[i] >= 0.01 else 3
    return f"{check.ratio[i]:.{digits}f} ± {check.ratio_error[i]:.{digits}f}"


def _where(check: "SelfCheck", i: int) -> str:
    return f"in the edge ring {check.depths[i]}" if i == 0 else f"at depths {check.depths[i]}"


def _odd_depth(check: "SelfCheck", i: int) -> str:
    """One bin in words, with what would do that."""
    above = check.ratio[i] > 1
    if i == 0:
        why = (
            "noise understated, beam overstated, or something else in the map?"
            if above
            else "noise overstated, or beam understated?"
        )
    else:
        why = (
            f"power {'understated' if above else 'overstated'} or beam {'over' if above else 'under'}stated at the "
            "scale of holes?"
        )
    return f"errors {_where(check, i)} are {_ratio(check, i)} of what is expected ({why})"


def _odd_coverage(check: "SelfCheck", i: int) -> str:
    return (
        f"in quintile {i + 1} of the prediction {check.coverage[i]:.3f} ± {check.coverage_error[i]:.3f} of the pixels "
        f"lie within one sigma, {check.expected_coverage[i]:.3f} are expected (a sky that is not Gaussian, or uneven "
        "noise?)"
    )
