"""`python -m cmbinpaint` is the command `cmbinpaint`. Floor: 9."""

from cmbinpaint.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
