"""What feeds a GPU, and a check for a machine that has one. What it found: docs/performance.md#on-a-gpu."""
