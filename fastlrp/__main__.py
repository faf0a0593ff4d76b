"""``python -m fastlrp``: the command line."""

from __future__ import annotations

import sys

from fastlrp.cli import main

if __name__ == "__main__":
    sys.exit(main())
