"""Stands before a broker and asks for a login, by SASL PLAIN or SCRAM (RFC 5802): Tansu keeps no users. Everything else
passes through. Users are names and passwords; who logs in wrongly is told so and sent away.
"""
import base64
import hashlib
import hmac
import os
import socket
import struct
import threading

HANDSHAKE, AUTHENTICATE, WRONG = 17, 36, 58
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
ROUNDS = 4096


def read(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


class Scram:
    def __init__(self, users, hash_name):
        self.users, self.hash, self.password = users, hash_name, None

    def hmac(self, key, data):
        return hmac.digest(key, data, self.hash)

    def step(self, message):
        """The next answer, and whether it is the last one; an error where the client is not who it says."""
        if self.password is None:
            self.first = message.split(",", 2)[2]
            fields = dict(field.split("=", 1) for field in self.first.split(","))
            self.password = self.users[fields["n"]]
            self.nonce, self.salt = fields["r"] + base64.b64encode(os.urandom(18)).decode(), os.urandom(16)
            self.challenge = f"r={self.nonce},s={base64.b64encode(self.salt).decode()},i={ROUNDS}"
            return self.challenge, False
        without_proof, proof = message.rsplit(",p=", 1)
        if without_proof.split(",")[1] != f"r={self.nonce}":
            raise PermissionError("another nonce")
        salted = hashlib.pbkdf2_hmac(self.hash, self.password.encode(), self.salt, ROUNDS)
        signed = f"{self.first},{self.challenge},{without_proof}".encode()
        stored = hashlib.new(self.hash, self.hmac(salted, b"Client Key")).digest()
        signature = self.hmac(stored, signed)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature))
        if hashlib.new(self.hash, key).digest() != stored:
            raise PermissionError("wrong password")
        return "v=" + base64.b64encode(self.hmac(self.hmac(salted, b"Server Key"), signed)).decode(), True


class Plain:
    def __init__(self, users):
        self.users = users

    def step(self, message):
        _, name, password = message.split("\0")
        if self.users[name] != password:
            raise PermissionError("wrong password")
        return "", True


class Login:
    """Listens on a free port of loopback, before the broker on the port `target`."""

    def __init__(self, target, users):
        self.target, self.users, self.logins = target, users, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def stop(self):
        self.listener.close()

    def serve(self, client):
        broker = socket.create_connection(("127.0.0.1", self.target))
        try:
            self.ask(client, broker)
            threading.Thread(target=pump, args=(broker, client), daemon=True).start()
            pump(client, broker)
        except (OSError, ValueError, KeyError):
            pass
        finally:
            client.close()
            broker.close()

    def ask(self, client, broker):
        """Until the client has logged in. What it asks before, such as versions, the broker answers."""
        login = None
        while True:
            head = read(client, 4)
            request = read(client, *struct.unpack(">i", head))
            key, version, number, name = struct.unpack(">hhih", request[:10])
            body = request[10 + max(name, 0):]
            if key == HANDSHAKE:
                mechanism = body[2:].decode()
                login = Plain(self.users) if mechanism == "PLAIN" else Scram(self.users, mechanism[6:].replace("-", ""))
                listed = b"".join(text(one) for one in MECHANISMS)
                reply(client, number, struct.pack(">hi", 0, len(MECHANISMS)) + listed)
            elif key == AUTHENTICATE:
                # How long the login holds: for ever.
                lifetime = struct.pack(">q", 0) if version > 0 else b""
                try:
                    answer, done = login.step(body[4:].decode())
                except (PermissionError, KeyError) as error:
                    reply(client, number, struct.pack(">h", WRONG) + text(str(error)) + struct.pack(">i", 0) + lifetime)
                    raise ConnectionError("sent away") from error
                reply(client, number, struct.pack(">hhi", 0, -1, len(answer)) + answer.encode() + lifetime)
                if done:
                    self.logins += 1
                    return
            else:
                broker.sendall(head + request)
                head = read(broker, 4)
                client.sendall(head + read(broker, *struct.unpack(">i", head)))


def reply(client, number, body):
    client.sendall(struct.pack(">ii", len(body) + 4, number) + body)


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
