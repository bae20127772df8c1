"""`ray job submit -- python jobs/run.py -c pipeline.yaml`: the verb `run` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("run")
