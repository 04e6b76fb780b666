"""A folder that is replaced: the older or the newer one, whole."""

import pathlib
import tempfile
import unittest
from unittest import mock

from pmpo_torch_trainer.replacing import replaced


class Replacing(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)
        self.folder = self.place / "weights"

    def write(self, text):
        with replaced(self.folder) as aside:
            (aside / "file").write_text(text)

    def check(self, text):
        self.assertEqual((self.folder / "file").read_text(), text)
        self.assertEqual([path.name for path in self.place.iterdir()], ["weights"])

    def test_it_is_made_and_replaced(self):
        self.write("one")
        self.check("one")
        self.write("two")
        self.check("two")

    def test_an_error_while_it_is_written_changes_nothing(self):
        self.write("one")
        with self.assertRaises(KeyError), replaced(self.folder) as aside:
            (aside / "file").write_text("two")
            raise KeyError
        self.check("one")

    def test_a_folder_that_cannot_take_its_place_leaves_the_one_before(self):
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
