"""What a network's answers are worth, and how fast they come."""
