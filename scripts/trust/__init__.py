"""The checks behind the README's table of trust: each section tries the library in one way and says what it found.

Sections use the tests' references, oracles and random networks.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
