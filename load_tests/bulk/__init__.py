"""How fast `sightline score` is, and how much memory it takes."""
