"""`python -m cmbinpaint` is the command `cmbinpaint`."""

from cmbinpaint.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
