"""Which version gets which traffic: the roll-out file, canaries and their guard, shadows, and versions at run time."""
