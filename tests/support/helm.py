"""Charts rendered by the Helm of the pinned Kubernetes provider, without a cluster.

    with Helm() as helm:
        helm.render(Path("metallb-0.16.1.tgz"), "metallb", "metallb-system", values, apis=["monitoring.coreos.com/v1"])

The provider answers `kubernetes:helm:template`; no other program that renders charts belongs to the toolchain.
"""

import base64
import gzip
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from config import versions
from toolchain import environment

Object = dict[str, Any]

KUBERNETES = versions.K3S.partition("+")[0]
"""The version that a chart is rendered for."""
_WHOLE_NUMBERS = 1 << 30
_LARGEST = 1 << 28
"""Bytes of the largest answer: the definitions of one chart are several MiB."""


class HelmError(ValueError):
    """Helm could not render a chart; its own message."""


class _Engine(engine_pb2_grpc.EngineServicer):
    """What the provider reports to."""

    def Log(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802 - the protocol's name
        return empty_pb2.Empty()


class Helm:
    """The provider, started as the engine starts it; a context manager."""

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(1))
        engine_pb2_grpc.add_EngineServicer_to_server(_Engine(), self._server)
        engine = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._process = subprocess.Popen(
            [environment.binary("pulumi-resource-kubernetes"), f"127.0.0.1:{engine}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "KUBECONFIG": os.devnull},
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        options = [("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._provider = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._provider.Configure(provider_pb2.ConfigureRequest(acceptSecrets=True, acceptResources=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._process.kill()
        self._process.communicate()
        self._server.stop(None)

    def render(
        self, archive: Path, release: str, namespace: str, values: Mapping[str, Any], apis: Iterable[str] = ()
    ) -> list[Object]:
        """Everything that a chart makes of values, hooks and definitions included.

        Args:
            archive: The chart, packed.
            release: Name of the release.
            namespace: Its namespace, which objects without one get.
            values: Values over the chart's own.
            apis: What the cluster serves beside Kubernetes' own kinds: `group/version`, `group/version/Kind`.

        Raises:
            HelmError: Helm refuses the chart or its values.
        """
        options = {
            "path": str(archive.parent),
            "chart": archive.name,
            "release_name": release,
            "namespace": namespace,
            "values": values,
            "kube_version": KUBERNETES,
            "api_versions": list(apis),
            "include_test_hook_resources": False,
        }
        arguments = struct_pb2.Struct()
        arguments["jsonOpts"] = json.dumps(options)
        request = provider_pb2.InvokeRequest(tok="kubernetes:helm:template", args=arguments)
        try:
            answer = self._provider.Invoke(request)
        except grpc.RpcError as error:
            raise HelmError(error.details()) from error
        found = json_format.MessageToDict(getattr(answer, "return"))["result"]
        return [_with_whole_numbers(item) for item in found]


def _with_whole_numbers(node: Any) -> Any:
    """The protocol knows only floating-point numbers; Kubernetes has none in what charts make."""
    if isinstance(node, float) and node.is_integer() and abs(node) < _WHOLE_NUMBERS:
        return int(node)
    if isinstance(node, dict):
        return {key: _with_whole_numbers(item) for key, item in node.items()}
    return [_with_whole_numbers(item) for item in node] if isinstance(node, list) else node


def release_values(secret: Mapping[str, Any]) -> Object:
    """The values that a release got, as its Secret in the cluster holds them."""
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    values: Object = release.get("config") or {}
    return values
