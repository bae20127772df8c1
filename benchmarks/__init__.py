"""Every figure that the README quotes, side by side with its peers."""
