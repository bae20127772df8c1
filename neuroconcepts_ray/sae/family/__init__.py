"""The members of the family of sparse autoencoders, each a small frozen dataclass that owns its maths."""
