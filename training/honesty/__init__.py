"""From a trained network to one whose answers can be trusted, and the figures that say how far."""
