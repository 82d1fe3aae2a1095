"""What a request leaves behind for those who operate the server, and what the server says of itself."""
