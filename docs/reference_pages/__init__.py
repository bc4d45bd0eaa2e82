"""Writers of the reference pages that are made from the code."""
