"""``python -m pysaslauthd`` is the daemon."""

import sys

from pysaslauthd.cli.daemon import main

sys.exit(main())
