"""What feeds a GPU, and a check for a machine that has one. It was run on CPUs only: no GPU figure exists."""
