"""`ray job submit -- python jobs/catalog.py -c pipeline.yaml`: the verb `catalog` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("catalog")
