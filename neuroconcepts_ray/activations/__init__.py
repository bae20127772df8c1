"""What the classifier's layers say about every image: one forward pass, one artifact per tap."""
