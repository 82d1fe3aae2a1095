"""A check of a data set for people and for machines: lines, JSON, and a page."""
