"""Networks, losses, inputs, augmentation, checkpoints and devices."""
