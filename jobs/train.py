"""`ray job submit -- python jobs/train.py -c pipeline.yaml`: the verb `train` as a Ray job."""

from neuroconcepts_ray.cli.main import job

if __name__ == "__main__":
    job("train")
