"""The classes: how many images each has, which labels look wrong, and what gives a class away."""
