"""See whether a component answers."""

import http.client
import ssl

from tierline_devcluster.components.component import Component, ReadyCheck

_TIMEOUT_S = 2.0


def is_ready(component: Component) -> bool:
    """Tell whether all checks of the component answer 200 now."""
    return all(answers(check) for check in component.ready)


def answers(check: ReadyCheck) -> bool:
    """Tell whether the URL answers 200 now; refused connections and failed handshakes count as no."""
    try:
        return fetch(check)[0] == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def fetch(check: ReadyCheck, timeout_s: float = _TIMEOUT_S) -> tuple[int, bytes]:
    """GET the URL; return status and body. Raises `OSError` when nobody answers."""
    connection = _connection(check, timeout_s)
    try:
        connection.request("GET", check.path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _connection(check: ReadyCheck, timeout_s: float) -> http.client.HTTPConnection:
    if check.ca is None:
        return http.client.HTTPConnection("127.0.0.1", check.port, timeout=timeout_s)
    context = ssl.create_default_context(cafile=check.ca)
    if check.client_cert is not None:
        context.load_cert_chain(check.client_cert, check.client_key)
    return http.client.HTTPSConnection("127.0.0.1", check.port, timeout=timeout_s, context=context)
