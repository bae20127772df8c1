"""Naming: for each neuron a name that held on patients it was not found on, or honestly "unnamed"."""
