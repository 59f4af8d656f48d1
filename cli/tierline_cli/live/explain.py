"""`tierline explain request ID`: the gateway that had it is found, its account printed."""

import json

from rich.console import Console

from tierline.api.names import GATEWAY_ADMIN_PORT
from tierline_cli.errors import CommandFailed
from tierline_cli.live.account import account_view
from tierline_cli.live.asking import Question, find_account
from tierline_cli.live.pods import Port, UrlPort, ports_of

COMPONENT = "gateway"


def gateway_ports(url: str, namespace: str, fleet: str) -> list[Port]:
    """Return the admin port at `url`, else those of gateways, the fleet's own first; raises `CommandFailed`."""
    if url:
        return [UrlPort(url)]
    own = ports_of(COMPONENT, GATEWAY_ADMIN_PORT, namespace, fleet)
    # The fleet's model may be served by another fleet's gateway, too.
    others = ports_of(COMPONENT, GATEWAY_ADMIN_PORT, namespace, "") if fleet else []
    found: list[Port] = [*own, *(port for port in others if port.fleet != fleet)]
    if not found:
        raise CommandFailed("no gateway pod was found; name --namespace and --fleet, or --gateway URL")
    return found


def explain_request(request_id: str, ports: list[Port], *, as_json: bool, console: Console) -> None:
    """Print the account of the first gateway that knows the request; raises `CommandFailed` when none does."""
    account = find_account(about_request(request_id), ports)
    if as_json:
        console.print_json(json.dumps(account))
    else:
        console.print(account_view(account))


def about_request(request_id: str) -> Question:
    return Question(COMPONENT, request_id, f"/debug/explain/{request_id}")
