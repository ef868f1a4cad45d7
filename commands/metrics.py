"""`medledger metrics`: the numbers of a node, as monitoring reads them."""

import json
import re

import click

from client.plain_http import get_text
from commands.http_status import node_url_option, told_by_node
from commands.output import settings

SAMPLE = re.compile(r"^(?P<name>\w+(?:\{.*\})?) (?P<value>\S+)$", re.MULTILINE)


@click.command()
@node_url_option
def metrics(url: str) -> None:
    """Print the numbers of a node, in the Prometheus text format.

    \b
    Example:
      medledger metrics --node http://127.0.0.1:8080
    """
    with told_by_node(url):
        text = get_text(url, "/metrics")
    if settings().as_json:
        samples = {one["name"]: float(one["value"]) for one in SAMPLE.finditer(text)}
        click.echo(json.dumps(samples, indent=2))
    else:
        click.echo(text, nl=False)
