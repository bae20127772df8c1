"""`ray job submit -- python jobs/pack.py -c pipeline.yaml`: the verb `pack` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("pack")
