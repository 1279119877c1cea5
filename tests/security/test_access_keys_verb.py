"""`shoal keys`: who may make what, and where secrets lie."""

import concurrent.futures
import stat
import unittest

from keyring import Keyring, entry_of, secrets_in


class KeysVerb(unittest.TestCase):
    """`shoal keys`, in a folder of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.ring = cls.enterClassContext(Keyring())
        cls.ring.key("gateway", "gateway")
        cls.file = cls.ring.key("search")

    def refused(self, sentence: str, *arguments: object) -> None:
        before = sorted(self.ring.folder.parent.rglob("*")), self.ring.allowed.read_text()
        ran = self.ring.run("new", *arguments)
        self.assertNotEqual(ran.returncode, 0)
        self.assertRegex(ran.stderr, sentence)
        self.assertEqual((sorted(self.ring.folder.parent.rglob("*")), self.ring.allowed.read_text()), before)

    def test_secrets_are_for_their_owner_alone(self) -> None:
        out = self.ring.folder / "token"
        self.assertEqual(self.ring.run("new", "app", "--token", "--out", out).returncode, 0)
        for secret in (self.file, out):
            self.assertEqual(stat.S_IMODE(secret.stat().st_mode), 0o600, secret)
        self.assertRegex(out.read_text(), r"\Ashoal_[A-Za-z0-9_-]{43}\n\Z")

    def test_the_list_and_what_is_told_hold_no_secret(self) -> None:
        self.ring.token("site")
        listed = self.ring.run("list")
        self.assertEqual(listed.returncode, 0)
        for name in ("gateway", "search", "site"):
            self.assertIn(name, listed.stdout)
        told = self.ring.allowed.read_text() + listed.stdout + listed.stderr + self.ring.run("list", "--json").stdout
        self.assertEqual(secrets_in(told, self.ring.secrets), [])

    def test_a_secret_is_never_overwritten(self) -> None:
        file = self.ring.key("kept")
        secret = file.read_bytes()
        self.refused("is there already", "kept")
        self.ring.revoke("kept")
        self.refused("File exists", "kept")
        self.refused("File exists", "another", "--token", "--out", file)
        self.assertEqual(file.read_bytes(), secret)
        self.ring.key("another")  # nothing was left half done

    def test_a_link_in_place_of_a_secret_is_not_followed(self) -> None:
        target, link = self.ring.folder / "target", self.ring.folder / "linked.key"
        link.symlink_to(target)
        self.refused("File exists", "linked")
        link.unlink()
        (self.ring.folder / "linked.key.new").symlink_to(target)
        self.ring.key("linked")
        self.assertFalse(target.exists())

    def test_names_lead_out_of_no_folder(self) -> None:
        for name in ("../outside", ".hidden", "a" * 65, 'quote"'):
            with self.subTest(name):
                self.refused("a name is 1 to 64", name)

    def test_roles_have_the_kind_of_secret_that_fits(self) -> None:
        self.refused("an observer reads metrics over HTTP", "metrics", "--role", "observer")
        self.refused("has a key, not a token", "worker-token", "--role", "worker", "--token")
        self.refused("there is no role", "root", "--role", "root")
        with Keyring() as empty:
            self.assertRegex(empty.run("new", "search").stderr, "there is no gateway yet")

    def test_several_at_once_are_all_on_the_list(self) -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self.ring.token, [f"web-{i}" for i in range(4)]))
        for i in range(4):
            entry_of(self.ring.allowed.read_text(), f"web-{i}")

    def test_what_is_not_there_cannot_be_revoked(self) -> None:
        ran = self.ring.run("revoke", "nobody")
        self.assertEqual(ran.returncode, 3)
        self.assertIn("nobody here is called 'nobody'", ran.stderr)


if __name__ == "__main__":
    unittest.main()
