"""The arrays of blocks, and the shapes that describe them: chunks, labels, outlines, where to cut."""
