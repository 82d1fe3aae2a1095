"""How servers start, in a checkout and in containers."""
