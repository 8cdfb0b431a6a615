"""`python -m lvmlab`, which is the command `lvmlab`."""

from lvmlab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
