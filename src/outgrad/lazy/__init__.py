"""Task graphs on chunks: the only room that builds them. It knows parts and outlines, no labels."""
