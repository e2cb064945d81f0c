"""`python -m wmscore`: the command line."""

import sys

from wmscore.cli import main

if __name__ == "__main__":
    sys.exit(main())
