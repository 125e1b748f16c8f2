"""The folders of the tree are the sub-packages of ``attnlab``: theory/ is attnlab.theory, and so on down."""

from setuptools import find_packages, setup

FOLDERS = ("theory", "kernels", "simulators", "analysis", "papers")
found = find_packages(include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)])
setup(packages=[f"attnlab.{name}" for name in found], package_dir={"attnlab": "."})
