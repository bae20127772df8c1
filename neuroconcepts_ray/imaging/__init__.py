"""Bytes to pixels: every JPEG and PNG as uint8 grey or RGB, and the one resize that all stages share."""
