"""An HTTP server that lets requests under way end before it stops.

What the recording proxy and the server of students have in common; neither knows the other.
"""

from stillhouse.listening._host import HttpHost, check_address
from stillhouse.listening._limits import allow_many_connections
from stillhouse.listening._signals import until_signalled

__all__ = ["HttpHost", "allow_many_connections", "check_address", "until_signalled"]
