"""`python -m racer`."""

from __future__ import annotations

import sys

from racer.cli import main

if __name__ == "__main__":
    sys.exit(main())
