"""What this machine has. Inputs: nothing. Outputs: bytes of memory."""

import os


def memory_of_machine() -> int:
    """Return the machine's memory in bytes; 16 GiB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 34
