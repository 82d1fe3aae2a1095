"""Whole runs of the commands that train, as a person types them."""
