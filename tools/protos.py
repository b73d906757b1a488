"""Generate deployment_service/v1 from protos/, or check that the committed files are up to date.

Runs in .venv-protos (see the Makefile), with the oldest generator that we support.
"""

import filecmp
import importlib.resources
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("deployment_service/v1")


def generate(output: Path) -> set[Path]:
    """Write all generated modules below `output`; returns their paths relative to it."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / PACKAGE).glob("*.proto"))
    if not sources:
        return set()
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    plugin = Path(sys.executable).with_name("protoc-gen-mypy_grpc")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *("-I", str(PROTOS), "-I", str(well_known)),
            f"--plugin=protoc-gen-mypy_grpc={plugin}",
            f"--python_out={output}",
            f"--pyi_out={output}",
            f"--grpc_python_out={output}",
            f"--mypy_grpc_out=quiet:{output}",
            *sources,
        ],
        check=True,
        cwd=PROTOS,
    )
    return generated(output)


def generated(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in (root / PACKAGE).glob("*_pb2*.py*")}


def import_core() -> None:
    """Import all that other services import, with no other packages than the core's oldest ones.

    Generated code refuses too old a protobuf or grpcio at import; newer ones may warn at import.
    """
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("error")
    for package in ("v1", "client"):
        for path in sorted((ROOT / "deployment_service" / package).glob("*.py")):
            if not path.stem.startswith("cli"):  # has an extra of its own
                importlib.import_module(f"deployment_service.{package}.{path.stem}")


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        fresh_root = Path(directory)
        (fresh_root / PACKAGE).mkdir(parents=True)
        fresh, present = generate(fresh_root), generated(ROOT)
        changed = {
            path
            for path in fresh | present
            if path not in fresh
            or path not in present
            or not filecmp.cmp(fresh_root / path, ROOT / path, shallow=False)
        }
        if sys.argv[1:] == ["check"]:
            for path in sorted(changed):
                print(
                    f"{path} is not up to date with protos/: run `make protos`, commit the result."
                )
            if not changed:
                import_core()
            return 1 if changed else 0
        for path in changed - fresh:
            (ROOT / path).unlink()
        for path in changed & fresh:
            shutil.copyfile(fresh_root / path, ROOT / path)
        print(f"{PACKAGE}: {len(fresh)} files, {len(changed)} of them changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
