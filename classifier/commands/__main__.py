"""`python -m classifier.commands`: `sightline` where nothing is installed, as in a Bento."""

import sys

from classifier.commands.cli import main

sys.exit(main())
