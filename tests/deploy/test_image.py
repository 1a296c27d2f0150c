"""What the image would hold is enough for the daemon, and holds nothing else."""

import os
import re
import socket
import ssl
import stat
import subprocess
import threading
import tomllib
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

import image
from conftest import CREDENTIALS, REGION
from templates import REGISTRARS, ROOT, container, daemon_stack, environment

BINARY = os.environ["ENROLLD_BIN"]
CONFIGURATION = f"""
queue_url = "%s/123456789012/enrolld-lifecycle"
region = "{REGION}"

[[route]]
name = "nodes"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::123456789012:role/enrolld-node" }}
"""


@pytest.fixture
def root(tmp_path):
    return image.build(tmp_path, BINARY)


def test_the_image_holds_the_binary_its_libraries_the_authorities_and_its_user(root):
    held = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    libraries = {name for name in held if re.fullmatch(r"(usr/)?lib(64)?/(\S+/)?(ld-linux-\S+|lib(c|m|gcc_s|dl|rt|pthread))\.so\.\d+", name)}
    assert libraries and held - libraries == {"enrolld", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/group", "etc/nsswitch.conf"}
    user, group = image.Dockerfile.read().settings["USER"].split(":")
    assert user != "0" and f"enrolld:x:{user}:{group}:" in (root / "etc/passwd").read_text()
    for path in root.rglob("*"):
        mode = path.stat().st_mode
        assert not mode & (stat.S_ISUID | stat.S_ISGID), f"{path} lends rights"
        assert path.is_dir() or not mode & 0o222, f"{path} can be written"


def test_it_starts_without_anything_else(root):
    for arguments in (["--version"], ["help"]):
        ran = subprocess.run(image.command(root, *arguments), env={}, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    assert subprocess.run(image.command(root)[:-1] + ["/bin/sh"], env={}, capture_output=True, check=False).returncode == 127, "there is no shell"


@contextmanager
def by_tls(folder, url):
    """The simulator behind TLS, with a certificate of an authority of this test's; yields the address and the authority."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "csr.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "cert.pem", "-days", "2", "-extfile", "names")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    there = (urlsplit(url).hostname, urlsplit(url).port)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, to):
        try:
            while data := source.recv(65536):
                to.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, to):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def serve(raw):
        try:
            client = context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError):
            return
        server = socket.create_connection(there)
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        pump(server, client)

    def accept():
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(raw,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}", (folder / "ca.pem").read_text()
    finally:
        listener.close()


def test_names_are_looked_up_and_tls_is_checked_by_the_authorities_in_the_image(root, fleet, tmp_path):
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    fleet.order("roles", name="enrolld-node", trust=trust)
    with by_tls(tmp_path, fleet.url) as (url, authority):
        (root / "etc/enrolld/enrolld.toml").write_text(CONFIGURATION % url)

        def check():
            command = image.command(root, "check", "--config", "/etc/enrolld/enrolld.toml")
            return subprocess.run(command, env=CREDENTIALS | {"AWS_ENDPOINT_URL": url, "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)

        unknown = check()
        assert unknown.returncode != 0, "an authority that the image does not know is not believed"
        authorities = root / "etc/ssl/certs/ca-certificates.crt"
        authorities.chmod(0o644)
        authorities.write_text(authorities.read_text() + authority)
        known = check()
        assert known.returncode == 0, known.stdout + known.stderr
        assert "0 failed" in known.stdout


@pytest.mark.parametrize("registrar", REGISTRARS)
def test_the_container_that_writes_the_files_can_do_so_with_the_capabilities_that_the_task_leaves_it(registrar, root):
    """Into a volume that is root's, and again into the one that it has left to the daemon."""
    task = daemon_stack(registrar)
    first, user = container(task, "configuration"), container(task, "enrolld")["User"]
    dropped = first["LinuxParameters"]["Capabilities"]["Drop"]
    secrets = {one["Name"]: "a secret" for one in first.get("Secrets", [])}

    def write(dropped):
        command = image.writing(root, first["User"], dropped, *first["Command"])
        return subprocess.run(command, env={"PATH": os.environ["PATH"], **environment(first), **secrets}, capture_output=True, text=True, check=False)

    refused = write([*dropped, "CHOWN"])
    assert refused.returncode != 0 and "Operation not permitted" in refused.stderr, "what it needs and has not is seen"
    for _ in range(2):
        ran = write(dropped)
        assert ran.returncode == 0, ran.stderr
    written = list((root / "etc/enrolld").iterdir())
    assert len(written) == 1 + len(secrets)
    for path in written:
        assert (f"{path.stat().st_uid}:{path.stat().st_gid}", path.stat().st_mode & 0o777) == (user, 0o400)


def test_the_image_and_the_task_are_of_one_mind():
    settings = image.Dockerfile.read().settings
    task = container(daemon_stack("chef-server"), "enrolld")
    assert task["User"] == settings["USER"]
    assert settings["HEALTHCHECK"].endswith('CMD ["/enrolld", "health"]') and task["HealthCheck"]["Command"] == ["CMD", "/enrolld", "health"]
    assert settings["CMD"] == str(task["Command"]).replace("'", '"')
    assert task["ReadonlyRootFilesystem"] is True
    told = re.search(r'shutdown_grace = "(\d+)s"', container(daemon_stack("chef-server"), "configuration")["Environment"][0]["Value"])
    assert task["StopTimeout"] > int(told[1]) + 5, "ECS kills later than the daemon has given everything back"


def test_the_image_says_what_it_is_by_labels():
    text = re.sub(r"\\\n", " ", image.DOCKERFILE.read_text()).rsplit("\nFROM ", 1)[1]
    (line,) = [line for line in text.splitlines() if line.startswith("LABEL ")]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', line))
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    assert set(labels) == {"title", "description", "licenses", "version", "revision"}
    assert (labels["title"], labels["licenses"]) == (package["name"], package["license"])
    assert labels["version"] == "${VERSION}" and arguments["VERSION"] == package["version"]
    assert labels["revision"] == "${REVISION}" and 'REVISION="$(git rev-parse HEAD)"' in (ROOT / "deploy/README.md").read_text()
    assert len(labels["description"]) > 40


def test_the_dependencies_are_built_before_anything_of_the_program_is_copied():
    """So that a change of the program leaves them as they are, in a layer of their own."""
    text = re.sub(r"\\\n", " ", image.DOCKERFILE.read_text())
    first = [line for line in text.split("\nFROM ")[1].splitlines() if line.startswith(("COPY ", "RUN "))]
    lock, dependencies, sources, program = first[:4]
    assert lock == "COPY Cargo.toml Cargo.lock build.rs ./" and sources == "COPY src src"
    assert "cargo build --release --locked" in dependencies and "rm -r src" in dependencies
    assert "cargo build --release --locked --bin enrolld" in program and "touch" in program, "cargo goes by the time of files"


def test_the_guide_builds_for_the_processor_that_the_service_asks_for():
    (platform,) = set(re.findall(r"docker build --platform (\S+)", (ROOT / "deploy/README.md").read_text()))
    assert (platform, daemon_stack("chef-server").parameter("CpuArchitecture")) == ("linux/amd64", "X86_64")


def test_what_the_builder_is_sent_is_all_that_it_copies():
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [word for line in image.DOCKERFILE.read_text().splitlines() if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]]
    assert sorted(sent) == sorted(copied)
    assert "\n*\n" in (ROOT / ".dockerignore").read_text(), "and nothing else"
    for source in (ROOT / "src").rglob("*.rs"):
        if source.name.startswith("tests") or "tests" in source.parts:
            continue
        # Tests may read what they like: they are not built there.
        program = source.read_text().split("#[cfg(test)]\nmod")[0]
        for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', program):
            assert (source.parent / path).resolve().is_relative_to(ROOT / "src"), f"{source} includes {path}, which is not sent"
    assert "build.rs" in sent, "cargo finds it by its name, and would build without it"
