"""What the server is to survive, measured: `python -m load_tests.chaos`."""
