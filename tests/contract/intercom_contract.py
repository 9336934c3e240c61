"""Holds what goes to Intercom's API, and what comes back, to the official description. For system tests:

    from intercom_contract import IntercomContract
    with IntercomContract(sandbox.intercom) as contract:
        ...the relay with api_url: contract.url...
    contract.check()            # raises AssertionError with every breach; or look at contract.breaches

contract.requests holds (method, target, body) in order. Requests below /sandbox/, and those for the bytes of attachments, pass unseen."""
import json

from description import Description
from proxy import Proxy

_description = None


def the_description():
    global _description
    if _description is None:
        _description = Description()
    return _description


class IntercomContract(Proxy):
    def __init__(self, upstream, answers=True):
        super().__init__(upstream)
        self.description, self.answers = the_description(), answers
        self.requests, self.breaches = [], []

    def translated(self, body):
        """The stand-in's addresses of files are on its own origin; to the relay that is where the API is."""
        host, port = self.upstream
        return body.replace(f"http://{host}:{port}/files/".encode(), f"{self.url}/files/".encode())

    def on_request(self, method, target, headers, body):
        if target.startswith(("/sandbox/", "/files/")):
            return
        try:
            value = json.loads(body) if body else None
        except ValueError:
            self.breaches.append(f"{method} {target}: the body is not JSON")
            return
        self.requests.append((method, target, value))
        self.breaches += self.description.request(method, target, headers, value)

    def on_answer(self, method, target, status, headers, body):
        if target.startswith(("/sandbox/", "/files/")) or not self.answers:
            return
        try:
            value = json.loads(body)
        except ValueError:
            self.breaches.append(f"{method} {target} -> {status}: the answer is not JSON")
            return
        self.breaches += self.description.answer(method, target, status, headers, value)

    def check(self):
        assert not self.trouble, self.trouble
        assert not self.breaches, "\n".join(self.breaches)
