"""`ray job submit -- python jobs/encode.py -c pipeline.yaml`: the verb `encode` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("encode")
