"""`ray job submit -- python jobs/index.py -c pipeline.yaml`: the verb `index` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("index")
