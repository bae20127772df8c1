"""Code spaces: every image as a vector over neurons (latents or units), and what is known of each neuron."""
