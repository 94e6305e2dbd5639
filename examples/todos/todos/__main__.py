"""``python -m todos`` runs the demonstration."""

import sys

from .demo import main

sys.exit(main())
