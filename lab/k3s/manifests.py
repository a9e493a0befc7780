"""`server/manifests`: every YAML file there is applied to the cluster, and again whenever it changes.

As in K3s: an Addon object in kube-system remembers each file's checksum, so that a restart or a second server applies
nothing again; `<file>.skip` keeps a file from being applied; `disable` removes a packaged component's file and objects.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab.k3s import log
from lab.kubernetes import KubeClient, KubernetesError

_INTERVAL = 1.0
_RETRY = 0.2
_ADDONS = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons"


def build_crd(kind: str, plural: str, scope: str, columns: dict[str, str]) -> dict[str, Any]:
    """The definition of a kind of K3s's own; `columns` of `kubectl get` are named with their JSON paths."""
    shown = [{"name": name, "type": "string", "jsonPath": path} for name, path in columns.items()]
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "additionalPrinterColumns": shown,
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.k3s.cattle.io"},
        "spec": {"group": "k3s.cattle.io", "names": names, "scope": scope, "versions": [version]},
    }


ADDON_CRD = build_crd("Addon", "addons", "Namespaced", {"Source": ".spec.source", "Checksum": ".spec.checksum"})


def read_documents(text: str) -> list[dict[str, Any]]:
    """Return the objects of a YAML file, Lists taken apart; raises `yaml.YAMLError`."""
    found: list[dict[str, Any]] = []
    for document in yaml.safe_load_all(text):
        if not isinstance(document, dict):
            continue
        items = document.get("items") if str(document.get("kind", "")).endswith("List") else None
        found += items if isinstance(items, list) else [document]
    return found


def addon_name(file: Path) -> str:
    """Return the name of the Addon of a file: its name without the extension."""
    return file.stem.lower().replace("_", "-")


class ManifestDeployer:
    """Applies one server's manifests directory."""

    def __init__(self, kube: KubeClient, directory: Path, node_name: str) -> None:
        self._kube = kube
        self._directory = directory
        self._manager = f"deploy@{node_name}"
        self._seen: dict[Path, tuple[int, int]] = {}

    async def run(self, disabled: Sequence[str]) -> None:
        """Apply until cancelled; packaged components named in `disabled` are removed first."""
        while not await self._prepare(disabled):  # noqa: ASYNC110 (the API server sends no event for this)
            await asyncio.sleep(_RETRY)
        while True:
            await self.apply_changed()
            await asyncio.sleep(_INTERVAL)

    async def _prepare(self, disabled: Sequence[str]) -> bool:
        try:
            await self._kube.apply(ADDON_CRD, self._manager)
            # A new kind is served a moment after its definition was taken.
            if await self._kube.get(_ADDONS) is None:
                return False
            for name in disabled:
                await self._remove(name)
        except KubernetesError as error:
            log.info(f"Waiting to deploy manifests: {error}")
            return False
        return True

    async def apply_changed(self) -> None:
        """Look at every file once, in order of name; one that fails is tried again at the next sweep."""
        for file in sorted(self._directory.rglob("*.y*ml")):
            try:
                stat = file.stat()
                mark = (stat.st_mtime_ns, stat.st_size)
                if self._seen.get(file) == mark or file.with_name(file.name + ".skip").exists():
                    continue
                await self._deploy(file)
            except (KubernetesError, OSError, yaml.YAMLError) as error:
                log.error(f"Failed to process config: failed to process {file}: {error}")
            else:
                self._seen[file] = mark

    async def _deploy(self, file: Path) -> None:
        content = file.read_text(encoding="utf-8")
        checksum = hashlib.sha256(content.encode()).hexdigest()
        addon = await self._kube.get(f"{_ADDONS}/{addon_name(file)}")
        if addon is not None and addon.get("spec", {}).get("checksum") == checksum:
            return
        for item in read_documents(content):
            await self._kube.apply(item, self._manager)
        log.info(f"Applied manifest {file}")
        await self._kube.apply(
            {
                "apiVersion": "k3s.cattle.io/v1",
                "kind": "Addon",
                "metadata": {"name": addon_name(file), "namespace": "kube-system"},
                "spec": {"source": str(file), "checksum": checksum},
            },
            self._manager,
        )

    async def _remove(self, component: str) -> None:
        """Delete the objects of a packaged component that was deployed before it was disabled."""
        file = self._directory / f"{component}.yaml"
        if not file.exists():
            return
        for item in reversed(read_documents(file.read_text(encoding="utf-8"))):
            await self._kube.delete(await self._kube.path_of(item))
        await self._kube.delete(f"{_ADDONS}/{addon_name(file)}")
        file.unlink()
