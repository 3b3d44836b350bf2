"""Keyrings as they are on people's machines: one that keeps all, and those that are too small, shut, absent or hang."""

from __future__ import annotations

import threading

import keyring.backend
from keyring.errors import InitError, KeyringLocked, NoKeyringError, PasswordSetError


class MemoryKeyring(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


class SmallKeyring(MemoryKeyring):
    """As Windows's: so many bytes of UTF-16 for an entry."""

    def __init__(self, most=2560, error=PasswordSetError):
        super().__init__()
        self.most = most
        self.error = error

    def set_password(self, service, username, password):
        if len(password.encode("utf-16-le")) > self.most:
            raise self.error(f"cannot keep {password}")
        super().set_password(service, username, password)


class CuttingKeyring(SmallKeyring):
    """Keeps the beginning of what is too long, and says nothing."""

    def set_password(self, service, username, password):
        MemoryKeyring.set_password(self, service, username, password[: self.most // 2])


class DeafKeyring(MemoryKeyring):
    """Takes everything and keeps nothing."""

    def set_password(self, service, username, password):
        pass


class FailingKeyring(MemoryKeyring):
    """Raises at each call, once it is broken."""

    def __init__(self, error, broken=True):
        super().__init__()
        self.error = error
        self.broken = broken

    def _fail(self, *shown):
        if self.broken:
            raise self.error(*shown)

    def get_password(self, service, username):
        self._fail("no")
        return super().get_password(service, username)

    def set_password(self, service, username, password):
        self._fail(password)
        super().set_password(service, username, password)

    def delete_password(self, service, username):
        self._fail("no")
        super().delete_password(service, username)


class HangingKeyring(FailingKeyring):
    """Asks a person who is not there, until the test lets it go."""

    def __init__(self, broken=True):
        super().__init__(KeyringLocked, broken)
        self.let_go = threading.Event()

    def _fail(self, *shown):
        if self.broken:
            self.let_go.wait(60)
            raise KeyringLocked


ERRORS = [KeyringLocked, NoKeyringError, InitError, PasswordSetError, OSError, RuntimeError]
