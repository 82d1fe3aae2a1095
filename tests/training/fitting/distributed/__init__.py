"""Tests of training/fitting/distributed."""
