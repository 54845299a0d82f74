"""Seeing a transfer: what is noted of each item, what that amounts to, and pictures of it.

``flights`` is told by transfers and transports while they are at work; ``records`` is what a user has; ``measures``
computes; ``charts`` draws with matplotlib, ``report`` without; ``machine`` looks at the whole machine; ``verbs`` has a
single call give its recording; ``tables`` shows results and listings.
"""

from .records import Recording, record
from .tables import Table

__all__ = ["Recording", "Table", "record"]
