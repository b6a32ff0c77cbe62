"""What a port answers to who has no token; also a program, `python asked.py HOST:PORT ...`, for hosts."""

import json
import sys
from dataclasses import asdict, dataclass

import grpc

from cluster import probe

# One call of each gRPC service that Ray's processes offer; an empty message is a valid question to each.
CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.RayletDriver/ClusterInfo",
)
ABSENT = ("UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED")


@dataclass(frozen=True)
class Answer:
    """To an HTTP request for metrics, and to Ray's calls: the codes of those that are offered there."""

    status: int
    text: str
    codes: tuple[str, ...]

    @property
    def is_metrics(self) -> bool:
        """Names and loads for Prometheus, which SECURITY.md names: the one thing shown to everybody."""
        return self.status == 200 and self.text.startswith(("# HELP", "# TYPE"))

    @property
    def refuses(self) -> bool:
        """Without the token, as HTTP and gRPC say it."""
        return (self.status, self.codes) in ((401, ()), (0, ("UNAUTHENTICATED",)))


def ask(address: str) -> Answer:
    """Ask HOST:PORT without the token, in every way we know."""
    codes = {call(address, method) for method in CALLS} - {*ABSENT}
    status, text = probe.get(f"http://{address}/metrics", timeout=2)
    return Answer(status, text[:100], tuple(sorted(codes)))


def call(address: str, method: str, token: str | None = None) -> str:
    """The code that a gRPC call with an empty message is answered with."""
    credentials_of_call = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=2, metadata=credentials_of_call)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


if __name__ == "__main__":
    sys.stdout.write("asked " + json.dumps({address: asdict(ask(address)) for address in sys.argv[1:]}) + "\n")
