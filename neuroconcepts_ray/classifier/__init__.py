"""The opaque classifier: any timm backbone trained on the labels, or weights brought along; taps by module name."""
