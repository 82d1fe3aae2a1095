"""What a network was not trained on: pictures that are made, and those of other data sets."""
