"""``python -m allenfs``."""

import sys

from allenfs.cli import main

sys.exit(main())
