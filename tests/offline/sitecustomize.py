"""Python runs a file of this name at its start: see no_network.py."""

import no_network  # noqa: F401
