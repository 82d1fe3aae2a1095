"""What is around the server: proxies in front of it, and files that an operator replaces."""
