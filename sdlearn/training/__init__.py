"""How the small model is made: the autoencoder, CLIP and the U-Net, each by a recipe."""
