"""Every kind of transport there is, and curl as the default engine uses it."""

from __future__ import annotations

from collections.abc import Callable

from cloudfiles_hypha import Timeouts
from cloudfiles_hypha.engine.carriers import CarrierKit, Lease
from cloudfiles_hypha.engine.waiting import Flag
from cloudfiles_hypha.transports import HttpRequest, HttpResponse, Transport
from cloudfiles_hypha.transports.curl.gevent import GreenTransport
from cloudfiles_hypha.transports.curl.transport import CurlTransport
from cloudfiles_hypha.transports.requests import RequestsTransport
from cloudfiles_hypha.transports.urllib3 import Urllib3Transport


class Carried:
    """curl as the default engine uses it: each request in a greenlet that a thread carries."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._transport = CurlTransport(timeouts)
        self._lease = Lease()
        self.aborting = self._transport.aborting

    def close(self) -> None:
        self._transport.close()
        self._lease.release(self._transport.owner)

    def send(self, request: HttpRequest) -> HttpResponse:
        outcome: list[HttpResponse | BaseException] = []
        ended = Flag()

        def work() -> None:
            try:
                outcome.append(self._transport.send(request))
            except BaseException as error:  # noqa: BLE001 -- raised by the caller
                outcome.append(error)
            finally:
                ended.set()

        kit = CarrierKit(self._lease.fleet(), 1, outcome.append)
        kit.spawn(work)
        kit.join(ended, abort=False)
        (result,) = outcome
        if isinstance(result, BaseException):
            raise result
        return result


KINDS: dict[str, Callable[[Timeouts], Transport]] = {
    "curl": CurlTransport,
    "carried": Carried,
    "green": GreenTransport,
    "urllib3": Urllib3Transport,
    "requests": RequestsTransport,
}
