"""The folders of the tree are the sub-packages of ``attnlab``: theory/ is attnlab.theory, and so on down."""

import shutil

from setuptools import find_packages, setup
from setuptools.command.build import build

FOLDERS = ("theory", "kernels", "simulators", "analysis", "papers")
found = find_packages(include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)])


class FreshBuild(build):
    """A build that begins with an empty folder: what an older build left there would be packed, too."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(packages=[f"attnlab.{name}" for name in found], package_dir={"attnlab": "."}, cmdclass={"build": FreshBuild})
