"""`ray job submit -- python jobs/neighbours.py -c pipeline.yaml`: the verb `neighbours` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("neighbours")
