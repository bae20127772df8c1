"""Checkpoints of other libraries, read and written; formulas and keys after their sources, none of their code."""
