"""Leaves the repository's path in the installed package: it speaks to the programs there."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithHome(build_py):
    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "turnstone"
        target.mkdir(parents=True, exist_ok=True)
        (target / "_home.txt").write_text(str(Path(__file__).resolve().parents[1]))


setup(cmdclass={"build_py": WithHome})
