"""The commands that train and measure: one module for each, listed in `classifier.commands`.

None of them imports TensorFlow, which takes seconds, before it has to: help, the list of recipes and complaints about
data come at once.
"""
