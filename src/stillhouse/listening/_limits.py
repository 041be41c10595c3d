"""How many connections one process may hold."""


def allow_many_connections() -> None:
    """Raise the limit of open files to what the system lets this process have.

    Shells give 1,024 by default, which as many idle connections use up: then nobody is served.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):  # some systems name a limit that they do not allow
        return
