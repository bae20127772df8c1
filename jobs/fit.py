"""`ray job submit -- python jobs/fit.py -c pipeline.yaml`: the verb `fit` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("fit")
