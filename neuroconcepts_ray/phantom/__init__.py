"""The phantom: synthetic archives with planted findings, and the truth about them, kept elsewhere.

Images, tables and reports are written in the exact layout of a real archive (MIMIC-CXR-JPG 2.x, R2Gen, DDSM, HAM10000
or Harvard-FairVLMed), so that its adapter reads them. The truth goes to a root of its own and is opened by
:mod:`neuroconcepts_ray.phantom.scoring` alone.
"""
