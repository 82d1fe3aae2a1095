"""A comparison of two versions for people: a table, a page, and a sheet of the images they disagree on."""
