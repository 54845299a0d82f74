"""The interface of hctef: ``from cloudfiles_hypha.compat.hctef import HttpFile``.

``aio`` (``AsyncHttpFile``) and ``exceptions`` are modules of this package, as they are of hctef.
"""

from .exceptions import HctefError, HctefNetworkError, HctefUrlError, RangeRequestsUnsupportedError
from .files import HttpFile

__all__ = ["HctefError", "HctefNetworkError", "HctefUrlError", "HttpFile", "RangeRequestsUnsupportedError"]
