"""Sparse autoencoders: variants, training, metrics and their files."""
