"""The check of a data set before anything is trained on it: what is found, by how much it matters.

A picture is read once. Nothing is written but the report and the plan that a person asks for.
"""
