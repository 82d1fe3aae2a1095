"""The images of a data set as they lie, before any of them is decoded."""

from __future__ import annotations

from training.datasets.listing.listing import Body, Digests, Leaders, Listed, Listing, ListingReader, as_they_lie

__all__ = ["Body", "Digests", "Leaders", "Listed", "Listing", "ListingReader", "as_they_lie"]
