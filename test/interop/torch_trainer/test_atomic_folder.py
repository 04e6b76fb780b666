"""Replacing a folder leaves either the old or the new version, and no partial one."""

import pathlib
import tempfile
import unittest
from unittest import mock

import serving  # noqa: F401  # Adds the plugin to sys.path.

from pmpo_torch_trainer.atomic_folder import replace_folder


class ReplaceFolder(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)
        self.folder = self.place / "weights"

    def write(self, text):
        with replace_folder(self.folder) as aside:
            (aside / "file").write_text(text)

    def check(self, text):
        self.assertEqual((self.folder / "file").read_text(), text)
        self.assertEqual([path.name for path in self.place.iterdir()], ["weights"])

    def test_creates_and_replaces_the_folder(self):
        self.write("one")
        self.check("one")
        self.write("two")
        self.check("two")

    def test_an_error_in_the_block_changes_nothing(self):
        self.write("one")
        with self.assertRaises(KeyError), replace_folder(self.folder) as aside:
            (aside / "file").write_text("two")
            raise KeyError
        self.check("one")

    def test_a_failed_rename_restores_the_old_folder(self):
        self.write("one")
        rename = pathlib.Path.rename

        def failing(path, target):
            if target == self.folder and not path.name.endswith(".old"):
                raise OSError("no")
            return rename(path, target)

        with mock.patch.object(pathlib.Path, "rename", failing), self.assertRaises(OSError):
            self.write("two")
        self.check("one")


if __name__ == "__main__":
    unittest.main()
