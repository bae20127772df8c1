"""``python -m neuroconcepts_ray``."""

from neuroconcepts_ray.cli.main import main

if __name__ == "__main__":
    main()
