"""An archive as one row per image: adapters, keyed hashes, roles and their guard, frozen partitions."""
