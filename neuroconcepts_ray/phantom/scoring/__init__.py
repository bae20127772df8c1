"""The scoring: what of the truth do neurons, names, logits and pixels give back? No stage imports it, and no run."""
