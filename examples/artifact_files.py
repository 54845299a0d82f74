"""An artifact as a file system: open, list, copy and remove, in sync code and in async code."""

import asyncio
import os

from cloudfiles_hypha import ArtifactExists, AsyncHyphaArtifact, HyphaArtifact

ALIAS, WORKSPACE = "example-files", os.environ["HYPHA_WORKSPACE"]


def main() -> None:
    artifact = HyphaArtifact(ALIAS, workspace=WORKSPACE)
    try:
        artifact.create()
    except ArtifactExists:
        print("it is there already")

    with artifact.open("notes/hello.txt", "w") as file:
        file.write("Hello, Hypha!\nAnd all the others.\n")
    print(artifact.cat("notes/hello.txt"), end="")

    with artifact.open("notes/hello.txt") as file:
        file.seek(7)
        assert file.read(5) == "Hypha"  # about that much is fetched, and not the file

    artifact.copy("notes", "backup", recursive=True)  # within the store, and one commit
    print("found:", artifact.find("/"))
    artifact.rm("backup", recursive=True)
    assert not artifact.exists("backup/hello.txt")

    asyncio.run(asynchronously())


async def asynchronously() -> None:
    async with AsyncHyphaArtifact(ALIAS, workspace=WORKSPACE) as artifact:

        async def write(number: int) -> None:
            async with artifact.open(f"many/{number}.txt", "w") as file:
                await file.write(f"number {number}")

        await asyncio.gather(*(write(number) for number in range(20)))  # they share a commit
        texts = await asyncio.gather(*(artifact.cat(f"many/{number}.txt") for number in range(20)))
        print(f"wrote and read {len(texts)} files, the last of them {texts[-1]!r}")


if __name__ == "__main__":
    main()
