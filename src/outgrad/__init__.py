"""Labelled, block-sparse tensors with gradients, larger than memory."""
