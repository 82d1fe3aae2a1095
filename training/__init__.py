"""How a classifier comes to be: data sets, recipes, fitting, evaluation, reports."""
