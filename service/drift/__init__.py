"""Whether a version is asked about what it was made for: what a server counted beside what the card expects."""
