"""Wall time, processor time and peak memory of `inpaint_map`, for a first map and for a second one with the same plan.

python benchmarks/speed.py --nside 512 --mask MASK.fits -o speed_512.json
"""

import resource
import time

import numpy as np
from common import NOISE_STD, Setting, arguments, theory, write

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.sphere.pixels import pixel_size


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--maps", type=int, default=2, help="maps filled with the same plan")
    args = parser.parse_args()
    setting = Setting.at(args.nside, args.mask)
    mask = setting.plan.valid
    skies = [setting.sky(seed)[0].astype(np.float32) for seed in range(args.maps)]
    fsky = setting.plan.fsky
    del setting
    options = {
        "cl": theory(args.nside), "fwhm": 3 * pixel_size(args.nside), "noise_std": NOISE_STD,
        "model": args.model, "unit": "uK",
    }  # fmt: skip
    start, cpu = time.perf_counter(), time.process_time()
    plan = plan_inpainting(mask)
    seconds, cpu_seconds = [], []
    for sky in skies:
        filled = inpaint_map(sky, plan=plan, seed=1, **options)
        if not np.array_equal(filled[mask], sky[mask]):
            raise RuntimeError("observed pixels changed")
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu)
        start, cpu = time.perf_counter(), time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    write(
        {
            "what": "speed",
            "nside": args.nside,
            "model": args.model,
            "fsky": fsky,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "peak_GiB": peak,
        },
        args.output,
    )


if __name__ == "__main__":
    main()
