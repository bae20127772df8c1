"""Retrieval: exact search over codes, filtered before it ranks, with the reason for every hit."""
