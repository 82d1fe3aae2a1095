"""Records of runs, and the tables and pictures made from them."""
