"""`medledger peers`: how a node sees the other members."""

import click

from commands.http_status import fetch_peers, node_url_option
from commands.output import show_rows


@click.command()
@node_url_option
def peers(url: str) -> None:
    """Show the other members as one node sees them.

    \b
    Example:
      medledger peers --node http://127.0.0.1:8080
    """
    link = ("node", "organisation", "state", "silent", "reason", "rtt_ms", "clock_offset_ms")
    said = ("height", "view", "invalid_messages", "evidence")
    show_rows("Peers", (*link, *said), fetch_peers(url))
