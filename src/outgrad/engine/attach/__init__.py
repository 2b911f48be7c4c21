"""Gradients put into blocks and taken out of them."""
