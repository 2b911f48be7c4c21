"""metatensor's own files, ``.mts`` and ``.npz``."""
