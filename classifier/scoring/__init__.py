"""Bulk scoring: any number of images to a table, in parts that outlive a killed process."""
