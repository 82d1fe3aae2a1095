"""The commands between a version in the store and the traffic."""
