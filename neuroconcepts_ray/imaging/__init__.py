"""Bytes to pixels: images of every format as uint8 grey or RGB, and the one resize that all stages share."""
