"""The phantom: synthetic chest archives with planted findings, and the truth about them, kept elsewhere.

Films, tables and reports are written in the exact layout of MIMIC-CXR-JPG 2.x, so that the real adapter reads
them. The truth goes to a root of its own and is opened by :mod:`neuroconcepts_ray.phantom.scoring` alone.
"""
