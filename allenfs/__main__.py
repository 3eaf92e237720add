"""``python -m allenfs``."""

import sys

from allenfs.cli.main import main

sys.exit(main())
