"""`python -m tests.sabotage [NAME ...] [--jobs J] [--list]`."""

import sys

from tests.sabotage.run import main

sys.exit(main(sys.argv[1:]))
