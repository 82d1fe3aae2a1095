"""What airbench adds to a plain fit: a beginning that follows from the data, and how the steps change on the way."""
