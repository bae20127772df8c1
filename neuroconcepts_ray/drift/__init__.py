"""Drift: whether new films look to classifier and SAE as those did that they were fitted and chosen on."""
