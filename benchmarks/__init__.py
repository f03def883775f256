"""What sise-rt measures of itself: README.md lists the benchmarks, `python -m benchmarks.NAME` runs one."""

import sys
from pathlib import Path

# `python -m` puts the checkout first, whose sise_rt has no `export`: what is installed goes before it.
_root = str(Path(__file__).parents[1])
sys.path[:] = [*(path for path in sys.path if path != _root), _root]
