"""From arrays to a trained lattice: input, batches, devices, the skorch net, and what training drops on the way."""
