"""What may go wrong before or around a measurement, each with a stable code and a way out."""


class SceneError(Exception):
    """Root of what is wrong with the place where a benchmark runs."""

    code: str = "scene.error"


class NoNetwork(SceneError):
    """There is no consortium in that directory."""

    code = "devnet.missing"


class NodeEnded(SceneError):
    """A node ended by itself when it should have run."""

    code = "devnet.ended"


class NotReady(SceneError):
    """A node that runs decided no block in time."""

    code = "devnet.not_ready"


class InvalidScene(SceneError):
    """What was asked of a scene cannot be: its size, links, faults, or the file that names it."""

    code = "scene.invalid"


class NoNamespaces(SceneError):
    """Hosts in network namespaces cannot be made on this machine."""

    code = "scene.namespaces"


class NoShaping(SceneError):
    """The kernel cannot make what a host sends slower."""

    code = "scene.shaping"


class NotGrown(SceneError):
    """The ledger in a directory was not made to grow, or not as it is needed."""

    code = "growth.other"


class LoadError(Exception):
    """Root of what is wrong with the load that is offered."""

    code: str = "load.error"


class DriverEnded(LoadError):
    """A driver process ended by itself."""

    code = "load.driver_ended"


class SetupFailed(LoadError):
    """What has to be there before the measurement was refused or lost."""

    code = "load.setup"


class WorkloadInvalid(LoadError):
    """A workload's file, or what was said otherwise on the command line, makes no sense."""

    code = "bench.workload"


class ResultsInvalid(LoadError):
    """A file is no `results.json` of this version."""

    code = "bench.results"


class NoPictures(LoadError):
    """The library that draws plots is not installed."""

    code = "bench.pictures"


class PeerMissing(LoadError):
    """A system that is to be run beside ours is not on this machine."""

    code = "peers.missing"


class PeerFailed(LoadError):
    """A system that runs beside ours, or its driver, ended with an error."""

    code = "peers.failed"


class LedgerTooShort(SceneError):
    """The ledger in a directory has too few blocks for what is to be measured with it."""

    code = "growth.short"
