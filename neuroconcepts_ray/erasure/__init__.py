"""Erasing a patient: from every artifact, record and cache of a lake, without changing anybody else's bytes."""
