"""Jobs: read and check them, project their memory, and run them on a cluster."""

import lazy_loader

# The names are in __init__.pyi; they are imported when they are first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
