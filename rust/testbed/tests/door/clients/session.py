"""A client with one kept connection to a local port: it sends each line that it is told, and says what came back."""
import socket
import sys

connection = None
for line in sys.stdin:
    try:
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=15)
            lines = connection.makefile("r")
        connection.sendall(line.encode())
        answer = lines.readline().strip()
        if not answer:
            raise ConnectionError("closed")
        print(answer, flush=True)
    except OSError as error:
        connection = None
        print(f"failed: {type(error).__name__}", flush=True)
