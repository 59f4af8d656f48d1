"""Find the packages of a Kubernetes source tree whose types take part in the generated API descriptions."""

from pathlib import Path

_TAG = b"+k8s:openapi-gen="
_VENDORED = "k8s.io/kubernetes/vendor"
_LEFT_OUT = ("code-generator", "sample-apiserver", "test")


def openapi_packages(tree: Path) -> list[str]:
    """Return the import paths of all packages below `pkg` and `staging/src` with a generator tag, sorted."""
    folders = {
        path.parent.relative_to(tree)
        for part in ("pkg", "staging/src/k8s.io")
        for path in (tree / part).rglob("*.go")
        if _takes_part(path.relative_to(tree)) and _TAG in path.read_bytes()
    }
    return sorted(_import_path(folder) for folder in folders)


def _takes_part(path: Path) -> bool:
    if path.name.endswith("_test.go"):
        return False
    return not any(part.startswith(name) for part in path.parts for name in _LEFT_OUT)


def _import_path(folder: Path) -> str:
    text = folder.as_posix()
    if text.startswith("staging/src/"):
        return f"{_VENDORED}/{text.removeprefix('staging/src/')}"
    return f"k8s.io/kubernetes/{text}"
