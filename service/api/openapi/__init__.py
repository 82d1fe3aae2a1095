"""The OpenAPI document, and the page and the table of limits made from the same descriptions."""
