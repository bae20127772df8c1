"""The lake: immutable bytes named by what made them, and a handful of pointers that move."""
