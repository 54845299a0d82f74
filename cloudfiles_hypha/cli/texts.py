"""What each command is for, which module has it, and examples of it: known without loading any of these.

So ``--help`` and ``--version`` load next to nothing, and the examples can be read side by side. A command that is not
listed here works, but has no example; a test says so.
"""

from __future__ import annotations

from typing import NamedTuple


class About(NamedTuple):
    """One command."""

    module: str
    text: str  # as it is registered
    examples: tuple[str, ...]  # arguments of the program; each is one that could be run


# Every module of commands; each has ``register(commands)``.
MODULES = (
    "listing",
    "reading",
    "copying",
    "moving",
    "writing",
    "making",
    "encoding",
    "links",
    "uploads",
    "alias",
    "server",
    "configuring",
    "completing",
    "helping",
)

COMMANDS: dict[str, About] = {
    "ls": About(
        "listing",
        "List what is in a folder; names are relative to it.",
        ("ls s3://bucket/folder", "ls -lh --flat hypha://workspace/alias", "ls 's3://bucket/data/*.csv'"),
    ),
    "du": About(
        "listing",
        "Add up what is in folders: bytes, files, name of each folder.",
        ("du -h s3://bucket/data", "du -s -c s3://bucket/one s3://bucket/two"),
    ),
    "head": About(
        "listing",
        "Show what is known of files: size, ETag, type, encoding, time. (For first bytes: cat --range.)",
        ("head s3://bucket/notes.txt",),
    ),
    "cp": About(
        "copying",
        "Copy files and folders, to, from and between cloudpaths.",
        (
            "cp -r images hypha://workspace/alias/images",
            "cp -r --include '*.png' s3://bucket/images ./images",
            "cp gs://bucket/a.bin az://container/a.bin",
            "cp - s3://bucket/notes.txt",
        ),
    ),
    "sync": About(
        "moving",
        "Make a folder like another one: copy what differs.",
        ("sync --dry-run ./images s3://bucket/images", "sync --delete s3://bucket/images ./images"),
    ),
    "mv": About(
        "moving",
        "Move files and folders; a file is removed only when it has arrived.",
        ("mv s3://bucket/old.txt s3://bucket/new.txt", "mv -r ./results hypha://workspace/alias/results"),
    ),
    "cat": About(
        "reading", "Write files to standard output.", ("cat s3://bucket/notes.txt", "cat mem://a/x https://host/y")
    ),
    "exists": About(
        "reading",
        "Exit with 0 if there are such files, 1 if one is not there, 2 if unknown; a line for each of several.",
        ("exists s3://bucket/notes.txt", "exists s3://bucket/a.txt s3://bucket/b.txt"),
    ),
    "verify": About(
        "reading",
        "Compare a local folder with one in the cloud; prints what differs.",
        ("verify ./images hypha://workspace/alias/images",),
    ),
    "rm": About(
        "writing", "Remove files.", ("rm s3://bucket/a.txt s3://bucket/b.txt", "rm -r hypha://workspace/alias/old/")
    ),
    "touch": About(
        "making",
        "Make empty files where there are none; what is there stays as it is.",
        ("touch s3://bucket/done",),
    ),
    "mkdir": About("making", "Make local folders, and those above them.", ("mkdir file:///data/results",)),
    "create": About(
        "writing",
        "Make an artifact without files, and publish it.",
        ("create hypha://workspace/alias", "create --comment 'measurements' hypha://workspace/alias"),
    ),
    "stage": About(
        "writing",
        "Have what is written to an artifact from now on wait for commit.",
        ("stage hypha://workspace/alias",),
    ),
    "transcode": About(
        "encoding",
        "Store files with another Content-Encoding; what is read stays the same.",
        ("transcode --to zstd s3://bucket/a.json s3://bucket/b.json",),
    ),
    "sign": About("links", "Print URLs by which anybody can read files for a while.", ("sign s3://bucket/a.bin",)),
    "status": About(
        "writing", "Show the versions of an artifact, and what is staged.", ("status hypha://workspace/alias",)
    ),
    "commit": About(
        "writing",
        "Publish what is staged in an artifact.",
        ("commit hypha://workspace/alias", "commit --comment 'second run' --version v2 hypha://workspace/alias"),
    ),
    "discard": About(
        "writing", "Drop what is staged, restore what it had overwritten.", ("discard hypha://workspace/alias",)
    ),
    "uploads": About(
        "uploads",
        "List uploads in parts that were not completed.",
        ("uploads s3://bucket", "uploads --abort --older-than 7d s3://bucket"),
    ),
    "alias": About(
        "alias",
        "Names for endpoints and folders: NAME://bucket/path.",
        ("alias add lab s3://https://minio.example.org/", "alias ls", "alias rm lab"),
    ),
    "serve": About(
        "server",
        "Run a Hypha server on this machine and print the environment to use.",
        ("serve", "serve --directory ./hypha-data --workspace lab"),
    ),
    "demo": About(
        "server",
        "Start a server, put and get generated files, verify them, stop it.",
        ("demo", "demo --files 1000 --size 4096"),
    ),
    "config": About(
        "configuring",
        "Show what each shared option is, and who says so: the environment, the file, or nobody.",
        ("config", "config --json"),
    ),
    "login": About(
        "configuring",
        "Ask for a token for a Hypha server, and keep it for this user.",
        ("login", "login https://hypha.example.org", "login --browser", "login --stdin < token.txt"),
    ),
    "logout": About("configuring", "Forget the token that is kept for a Hypha server.", ("logout",)),
    "whoami": About(
        "configuring",
        "Show who a Hypha server takes you for, until when, and where the token was found.",
        ("whoami", "whoami https://hypha.example.org"),
    ),
    "completion": About(
        "completing",
        "Print what has a shell complete commands, options and cloudpaths.",
        ("completion bash", "completion zsh", "completion fish"),
    ),
    "help": About(
        "helping",
        "Show how a command is used, with examples.",
        ("help", "help cp", "help alias add", "help --man > cloudfiles-hypha.1"),
    ),
}
