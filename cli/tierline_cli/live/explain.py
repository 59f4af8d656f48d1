"""`tierline explain request ID`: the gateway that had it is found, its account printed."""

import json
from typing import Any

from rich.console import Console

from tierline.api.names import GATEWAY_ADMIN_PORT
from tierline_cli.errors import CommandFailed
from tierline_cli.live.account import account_view
from tierline_cli.live.pods import Port, UrlPort, ports_of

COMPONENT = "gateway"


def gateway_ports(url: str, namespace: str, fleet: str) -> list[Port]:
    """Return the admin port at `url`, or without one those of the fleet's gateways; raises `CommandFailed`."""
    if url:
        return [UrlPort(url)]
    found: list[Port] = [*ports_of(COMPONENT, GATEWAY_ADMIN_PORT, namespace, fleet)]
    if not found:
        raise CommandFailed("no gateway pod was found; name --namespace and --fleet, or --gateway URL")
    return found


def explain_request(request_id: str, ports: list[Port], *, as_json: bool, console: Console) -> None:
    """Print the account of the first gateway that knows the request; raises `CommandFailed` when none does."""
    account = find_account(request_id, ports)
    if as_json:
        console.print_json(json.dumps(account))
    else:
        console.print(account_view(account))


def find_account(request_id: str, ports: list[Port]) -> dict[str, Any]:
    """Return the account; raises `CommandFailed` that says what each gateway answered."""
    failures = []
    for port in ports:
        try:
            answer = port.get(f"/debug/explain/{request_id}")
        except CommandFailed as error:
            failures.append(str(error))
            continue
        if answer.status == 200:
            account: dict[str, Any] = json.loads(answer.text)
            return account
        failures.append(f"{port.title} does not know it")
    raise CommandFailed(f"no gateway has an account of {request_id}: {'; '.join(failures)}")
