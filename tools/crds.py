"""Write the CustomResourceDefinitions and their copies in the chart, or check that they are up to date.

`python tools/crds.py` writes; `python tools/crds.py --check` fails when a file differs from the models or when a CEL
rule does not compile.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cel

from tierline.api.crd import crd_yaml, custom_resource_definition
from tierline.api.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent
CRDS = Path("crds")
CHART_CRDS = Path("charts/tierline/templates/crds")

_KEEP = "metadata:\n  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"

_RULES = re.compile(r"^( *)x-kubernetes-validations:\n(?:\1(?:- | ).*\n)+", re.MULTILINE)
_SERVER_KNOWS_CEL = '{{- if semverCompare ">=1.25-0" $.Capabilities.KubeVersion.Version }}'


def chart_copy(text: str) -> str:
    """Wrap a CRD for the chart: installed on demand, kept on uninstall when wanted.

    Rules are left out on servers that do not know CEL: Helm refuses a manifest with a field unknown to the server.
    """
    escaped = text.replace("{{", '{{ "{{" }}').replace("metadata:\n", _KEEP, 1)
    guarded = _RULES.sub(lambda found: f"{_SERVER_KNOWS_CEL}\n{found[0]}{{{{- end }}}}\n", escaped)
    return f"{{{{- if .Values.crds.enabled }}}}\n{guarded}{{{{- end }}}}\n"


def generated_files() -> Mapping[Path, str]:
    """Return every generated file's text by its path in the repository."""
    files: dict[Path, str] = {}
    for model in KINDS.values():
        text = crd_yaml(model)
        files[CRDS / f"{model.shape.plural}.yaml"] = text
        files[CHART_CRDS / f"{model.shape.plural}.yaml"] = chart_copy(text)
    return files


def drift(root: Path) -> Iterator[str]:
    """Say which files under `root` differ from the models, are missing, or belong to no model."""
    files = generated_files()
    for path, text in files.items():
        if not (root / path).exists():
            yield f"{path} is missing"
        elif (root / path).read_text() != text:
            yield f"{path} differs from the models"
    for folder in (CRDS, CHART_CRDS):
        yield from (
            f"{folder / found.name} belongs to no model"
            for found in sorted((root / folder).glob("*.yaml"))
            if folder / found.name not in files
        )


def rules(schema: Any) -> Iterator[str]:
    """Find every CEL rule of a schema."""
    if isinstance(schema, dict):
        yield from (entry["rule"] for entry in schema.get("x-kubernetes-validations", ()))
        for inner in schema.values():
            yield from rules(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from rules(inner)


def uncompilable() -> Iterator[str]:
    """Say which CEL rules do not compile, and why."""
    for kind, model in KINDS.items():
        for rule in rules(custom_resource_definition(model)):
            try:
                cel.compile(rule)
            except ValueError as error:
                yield f"{kind}: the rule {rule!r} does not compile: {error}"


def write(root: Path) -> None:
    for path, text in generated_files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is out of date")
    if not parser.parse_args().check:
        write(ROOT)
    problems = [*drift(ROOT), *uncompilable()]
    for problem in problems:
        print(f"{problem}; run `make crds`" if "compile" not in problem else problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
