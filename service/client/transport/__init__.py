"""What lies between a request and its answer: time, size, connections and proxies. Knows nothing of images."""
