"""The demonstration: `python -m areole`."""

import sys

from .demo.command import main

if __name__ == "__main__":
    sys.exit(main())
