"""Task graphs: the only room that builds them, beside the files called ``graph`` in ``engine``."""
