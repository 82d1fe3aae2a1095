"""Tests of classifier/scoring."""
