"""The images of a data set as they lie, before any of them is decoded."""

from __future__ import annotations

from training.datasets.listing.listing import Body, Leaders, Listed, Listing, ListingReader

__all__ = ["Body", "Leaders", "Listed", "Listing", "ListingReader"]
