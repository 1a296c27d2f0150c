"""Stands between a worker and ministack, lets everything through, and weighs each call by the policy that is printed for the worker's configuration, as
the simulator does with the calls that it gets."""

import json
import re
import threading
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import confinement
from confinement import ACCOUNT, REGION

SERVICES = {"AmazonSQS": "sqs", "AmazonSSM": "ssm"}
# A batch takes the permission of its entries.
BATCHES = re.compile("Batch$")


def asked(target, body):
    """The action of a call and the ARNs that it is about."""
    prefix, operation = target.split(".")
    service = SERVICES[prefix]
    if service == "sqs":
        name = body["QueueName"] if "QueueName" in body else body["QueueUrl"].rsplit("/", 1)[1]
        return f"sqs:{BATCHES.sub('', operation)}", [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"]
    names = [body["Name"]] if "Name" in body else body.get("Names", [])
    return f"ssm:{operation}", [f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.lstrip('/')}" for name in names]


class Witness:
    """Calls by their actions, and those that no grant without a condition allows: what has one here is for services that are not ministack's."""

    def __init__(self, grants):
        self.grants = [grant for grant in grants if not grant["condition"] and not grant["denies"]]
        self.calls, self.beyond, self.lock = {}, [], threading.Lock()

    def allows(self, action, resource):
        return any(grant["action"] == action and fnmatchcase(resource, grant["resource"]) for grant in self.grants)

    def note(self, target, body):
        try:
            action, resources = asked(target, json.loads(body))
            allowed = resources and all(self.allows(action, resource) for resource in resources)
        except (KeyError, ValueError) as error:
            action, resources, allowed = target, [repr(error)], False
        with self.lock:
            self.calls[action] = self.calls.get(action, 0) + 1
            if not allowed:
                self.beyond.append((action, resources))


@contextmanager
def between(worker_grants, url):
    """Yields a witness and the URL to be called in the place of this one."""
    witness, upstream = Witness(worker_grants), urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            witness.note(self.headers.get("x-amz-target", "none.none"), body)
            connection = HTTPConnection(upstream, timeout=60)
            try:
                # Under its own name, which ministack makes URLs of.
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(text)))
            try:
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                # Whoever asked was killed.
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield witness, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
