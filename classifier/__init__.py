"""What a trained classifier is: pixels in, probabilities out. Knows neither HTTP nor training."""
