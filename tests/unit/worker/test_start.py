"""A worker's start: what the entry imports, and that the collector rests meanwhile."""

import gc
import subprocess
import sys
from types import SimpleNamespace

from tierline_worker import main


def test_openmps_policy_is_looked_at_before_torch_is_imported():
    code = "import sys, tierline_worker.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_collector_rests_during_imports_and_never_looks_at_them_again(monkeypatch):
    seen = []

    def imported(name):
        seen.append((name, gc.isenabled()))
        return SimpleNamespace(run=lambda: seen.append(("run", gc.isenabled(), gc.get_freeze_count() > 0)))

    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(main.importlib, "import_module", imported)
    main.main()
    gc.unfreeze()
    assert seen == [("tierline_worker.process", False), ("run", True, True)]
