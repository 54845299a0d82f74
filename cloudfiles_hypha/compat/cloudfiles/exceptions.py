"""cloud-files' names of errors, for what is raised here.

They are other names and not other classes, so ``except`` catches what the core raises; where the core makes no
difference, several names are one.
"""

from __future__ import annotations

from ...errors import AccessDenied, DecompressionError, IntegrityError

AuthorizationError = AccessDenied
MD5IntegrityError = IntegrityError
CRC32CIntegrityError = IntegrityError
# What makes no sense is a ValueError here: a scheme, an encoding, a level of one, a store that keeps none.
UnsupportedProtocolError = ValueError
UnsupportedCompressionType = ValueError
CompressionError = ValueError

__all__ = [
    "AuthorizationError",
    "CRC32CIntegrityError",
    "CompressionError",
    "DecompressionError",
    "IntegrityError",
    "MD5IntegrityError",
    "UnsupportedCompressionType",
    "UnsupportedProtocolError",
]
