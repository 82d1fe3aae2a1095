"""From a version in the store to the one that is served: compare, judge, sign off, name it, pack it."""
