"""Other packages' interfaces over this one, so that working code changes one import. Each is a thin face."""
