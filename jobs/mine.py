"""`ray job submit -- python jobs/mine.py -c pipeline.yaml`: the verb `mine` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("mine")
