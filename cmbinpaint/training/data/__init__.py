"""What networks are trained on: simulated skies, stored sets, masks, and how batches are made of them."""
