"""Where files live: one module for each kind of place."""
