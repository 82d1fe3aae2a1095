"""Tests of load_tests/capacity."""
