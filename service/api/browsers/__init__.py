"""What only browsers need: the page at `/`, and leave for pages of other origins to read answers."""
