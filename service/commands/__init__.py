"""What `sightline` can do with the server."""
