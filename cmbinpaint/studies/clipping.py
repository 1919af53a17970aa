"""The power spectrum of clipped grey pictures against that of the temperatures they show.

Inputs: patches in µK. Outputs: `ClippingStudy`.

Three steps lead from a temperature to the grey of a color picture, and are separated here: clipping at ±T_max; cutting
the range into 256 steps of grey ("grey picture"; grey back to µK exactly, but for the step); and drawing it in Planck's
colors first, whose grey is 0.2989 R + 0.5870 G + 0.1140 B ("grey of Planck's colors"). That grey is darkest at both
ends of the range, so that no straight line leads back; the best one, by regression over all pixels, is taken.

Of a Gaussian field of standard deviation σ clipped at ±T_max, each mode keeps erf(T_max / √2 σ) of its amplitude (the
theorem of Bussgang 1952), so that its power falls by the square of that, and what is cut off comes back as a little
power at all scales.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.studies.patch_study import PatchSpectra
from cmbinpaint.training.data.planck_colors import N_COLORS, luma, render
from cmbinpaint.validation.jackknife import Estimate, jackknife, mean, ratio_of_means, stack_estimates

CLIPPED, GREY, PLANCK = "clipped temperature", "grey picture", "grey of Planck's colors"
T_MAX_uK = (100.0, 150.0, 200.0, 250.0, 300.0, 400.0, 500.0, 700.0, 1000.0)


@dataclass(frozen=True, eq=False)
class ClippingStudy:
    """Spectra of pictures over those of temperatures.

    Attributes
    ----------
    t_max_uK
        (T,) where pictures end.
    edges
        (B+1,) bands of ell.
    power
        (B,) C_ell of the temperatures, µK².
    ratio
        (T, B) for each way of rendering: C_ell of the picture, as temperature, over that of the temperatures.
    coherence
        (T, B) correlation of their modes: 1 where a picture shows the sky.
    clipped
        (T,) fraction of pixels beyond ±T_max.
    expected
        (T,) power that is left of each mode of a Gaussian field.
    rms_uK
        Of the field.
    transfer
        (T, B) for "temperature" and each way of rendering: C_ell of the filled patches over that of the targets, each
        as the rendering shows it; empty without predictions.
    patches
        How many.
    """

    t_max_uK: FloatArray
    edges: FloatArray
    power: Estimate
    ratio: dict[str, Estimate]
    coherence: dict[str, Estimate]
    clipped: FloatArray
    expected: FloatArray
    rms_uK: float
    transfer: dict[str, Estimate]
    patches: int

    @property
    def bands(self) -> list[str]:
        """The bands in words."""
        return [f"{low:.0f}-{high:.0f}" for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each rendering, T_max and band."""
        rows = []
        for name, ratio in self.ratio.items():
            for (t, b), value in np.ndenumerate(ratio.value):
                row = {
                    "rendering": name, "t_max_uK": float(self.t_max_uK[t]), "ell_min": float(self.edges[b]),
                    "ell_max": float(self.edges[b + 1]), "clipped_fraction": float(self.clipped[t]),
                    "ratio": float(value), "ratio_error": float(ratio.error[t, b]),
                    "coherence": float(self.coherence[name].value[t, b]), "gaussian_ratio": float(self.expected[t]),
                }  # fmt: skip
                for kind in ("temperature", name) if self.transfer else ():
                    key = "transfer_temperature" if kind == "temperature" else "transfer_picture"
                    row[key] = float(self.transfer[kind].value[t, b])
                    row[f"{key}_error"] = float(self.transfer[kind].error[t, b])
                rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        """What the numbers refer to."""
        return {
            "rms_uK": self.rms_uK, "patches": self.patches,
            "ratio": "C_ell of pictures, as temperature, over C_ell of temperatures; Hann window",
            "windows": "as in the patches: beam and pixel window in",
        }  # fmt: skip


def study_clipping(
    target_uK: FloatArray, step_rad: float, t_max_uK: Sequence[float] = T_MAX_uK, *,
    filled_uK: FloatArray | None = None,
) -> ClippingStudy:  # fmt: skip
    """Compare spectra of pictures and of temperatures.

    Parameters
    ----------
    target_uK
        (n, side, side), two patches or more.
    step_rad
        The pixel's side.
    t_max_uK
        Where pictures end, at plus and minus.
    filled_uK
        (n, side, side) the same patches with holes filled.

    Raises
    ------
    MapError
        If a T_max is not positive, or there are fewer than two patches.
    """
    limits = np.asarray(t_max_uK, dtype=np.float64)
    if limits.ndim != 1 or not limits.size or not np.all(limits > 0):
        raise MapError(
            f"T_max {list(t_max_uK)} µK given; expected positive temperatures: pictures end at ±T_max"
        )
    target = np.asarray(target_uK, dtype=np.float64)
    if len(target) < 2:
        raise MapError("one patch given; errors need two or more: ask for more patches")
    spectra = PatchSpectra(target.shape[-1], step_rad)
    true = spectra.auto(target)
    ratio: dict[str, list[Estimate]] = {name: [] for name in _RENDERINGS}
    coherence: dict[str, list[Estimate]] = {name: [] for name in _RENDERINGS}
    transfer: dict[str, list[Estimate]] = {}
    if filled_uK is not None:
        unrendered = ratio_of_means(spectra.auto(filled_uK), true)
        transfer = {"temperature": [unrendered] * limits.size, **{name: [] for name in _RENDERINGS}}
    for limit in limits:
        for name, draw in _RENDERINGS.items():
            shown = draw(target, limit)
            scale = _regression(shown, target) if name == PLANCK else 1.0
            shown = scale * shown
            auto, cross = spectra.auto(shown), spectra.cross(shown, target)
            ratio[name].append(ratio_of_means(auto, true))
            coherence[name].append(jackknife(lambda c, a, b: c / np.sqrt(a * b), cross, auto, true))
            if filled_uK is not None:
                drawn = scale * draw(np.asarray(filled_uK, dtype=np.float64), limit)
                transfer[name].append(ratio_of_means(spectra.auto(drawn), auto))
    rms = float(target.std())
    return ClippingStudy(
        t_max_uK=limits, edges=spectra.edges, power=mean(true), ratio=_by_limit(ratio), coherence=_by_limit(coherence),
        clipped=np.array([np.mean(np.abs(target) > limit) for limit in limits]),
        expected=erf(limits / (np.sqrt(2) * rms)) ** 2, rms_uK=rms, transfer=_by_limit(transfer), patches=len(target),
    )  # fmt: skip


def _clip(field: FloatArray, limit: float) -> FloatArray:
    return np.clip(field, -limit, limit)


def _grey(field: FloatArray, limit: float) -> FloatArray:
    step = (N_COLORS - 1) * luma(render(field, -limit, limit, "grey"))  # from 0; it stands for its middle
    return limit * (2 * (step + 0.5) / N_COLORS - 1)


def _planck(field: FloatArray, limit: float) -> FloatArray:
    return luma(render(field, -limit, limit))


_RENDERINGS: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    CLIPPED: _clip, GREY: _grey, PLANCK: _planck,
}  # fmt: skip


def _regression(shown: FloatArray, target: FloatArray) -> float:
    """The factor that makes a grey the best linear guess of the temperature."""
    return float(np.cov(shown.ravel(), target.ravel())[0, 1] / shown.var())


def _by_limit(found: dict[str, list[Estimate]]) -> dict[str, Estimate]:
    return {name: stack_estimates(estimates) for name, estimates in found.items()}
