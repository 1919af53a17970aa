"""Property tests draw the same examples in every run; `HYPOTHESIS_PROFILE=explore` draws fresh ones.

A failure found by chance in somebody's unrelated change helps nobody; what exploring finds becomes an `@example`.
"""

import os

from hypothesis import settings

settings.register_profile("repeat", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
