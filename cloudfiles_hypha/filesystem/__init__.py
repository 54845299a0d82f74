"""Files as file systems and file objects. ``fsspec`` and ``upath`` are loaded only by whoever asks for them."""
