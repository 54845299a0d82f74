"""Many files at once: put and get hundreds of them in one call, with one commit, and see what became of each."""

import os

from cloudfiles_hypha import ArtifactFiles

PLACE = f"hypha://{os.environ['HYPHA_WORKSPACE']}/example-batches"


def main() -> None:
    files = {f"cells/{number:03}.bin": bytes([number]) * 1000 for number in range(200)}
    with ArtifactFiles(PLACE, create=True) as cf:
        stored = cf.puts(list(files.items()))  # signed in bulk, sent side by side, committed once
        print(f"put {len(stored)} files into {cf.cloudpath}")

        found = cf.get(list(files), return_dict=True)
        assert found == files
        assert sorted(cf.list("cells/")) == sorted(files)

        # A part of a file, and several parts of several files, in as few requests as that takes.
        assert cf.get({"path": "cells/007.bin", "start": 10, "end": 14}) == b"\x07" * 4
        parts = cf.get([{"path": name, "start": 0, "end": 2} for name in list(files)[:50]])
        print(f"read {sum(len(part['content']) for part in parts)} bytes of {len(parts)} files")

        # What goes wrong with one item is in its result, and costs the others nothing.
        first, missing = cf.get(["cells/000.bin", "cells/none.bin"], raise_errors=False)
        assert first["error"] is None
        assert isinstance(missing["error"], FileNotFoundError)
        print("missing:", missing["error"])

        cf.put_json("settings.json", {"stain": "DAPI", "pixels": [512, 512]}, compress="gzip")
        print("settings:", cf.get_json("settings.json"))


if __name__ == "__main__":
    main()
