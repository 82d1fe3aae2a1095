"""The files themselves: what is wrong with one before any other is looked at, and what is kept of each."""
