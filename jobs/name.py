"""`ray job submit -- python jobs/name.py -c pipeline.yaml`: the verb `name` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("name")
