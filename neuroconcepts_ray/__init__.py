"""Concepts from the neurons of an opaque image classifier, mined at archive scale on Ray."""

__version__ = "0.1.0"
