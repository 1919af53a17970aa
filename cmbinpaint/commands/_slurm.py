"""A job script for SLURM that runs a batch as an array.

Inputs: the command's arguments. Outputs: the script's text.
"""

import argparse
import shlex

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=cmbinpaint
#SBATCH --array=1-{tasks}
#SBATCH --cpus-per-task={cores}
#SBATCH --mem={memory}G
#SBATCH --time={time}
#SBATCH --signal=USR1@{notice}
#SBATCH --output=slurm-%A_%a.log
# So many seconds before the time limit batch gets USR1, finishes the maps that it is filling, and ends with code 138.
# Submit the same script again until nothing is left: what exists is skipped. A map takes about {seconds} s of one core.
set -u
export OMP_NUM_THREADS=1 SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun --ntasks=1 {command} --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
code=$?
if [ "$code" -eq 138 ]; then
    echo "time is up; submit again for the rest"
    exit 0
fi
exit "$code"
"""
_HOURS = 12
_SLACK = 1.5
_NOTICE = 120


def job_script(args: argparse.Namespace, units: int, seconds: float, size: float) -> str:
    """The script.

    Parameters
    ----------
    args
        Of `batch`; `print_slurm` is the number of tasks.
    units
        Maps times realizations.
    seconds, size
        Of one: processor time, and bytes.
    """
    tasks, workers = min(args.print_slurm, units), args.workers or 1
    needed = min(_HOURS * 3600, 600 + _SLACK * seconds * -(-units // tasks) / workers)
    minutes = int(-(-needed // 60))
    return _SCRIPT.format(
        tasks=tasks,
        cores=workers,
        memory=max(1, int(-(-_SLACK * size * workers // 1e9))),
        time=f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        notice=int(min(needed / 2, _NOTICE + 2 * seconds)),
        seconds=int(seconds),
        command=shlex.join(["cmbinpaint", *_without(args.argv, "--print-slurm", "--shard")]),
    )


def _without(words: list[str], *options: str) -> list[str]:
    """The command line without these options and their values."""
    kept, skip = [], False
    for i, word in enumerate(words):
        if skip:
            skip = False
            continue
        name, equals, _ = word.partition("=")
        if name in options:
            following = words[i + 1] if i + 1 < len(words) else "-"
            takes_one = not (name == "--print-slurm" and not following.isdecimal())
            skip = not equals and takes_one
            continue
        kept.append(word)
    return kept
