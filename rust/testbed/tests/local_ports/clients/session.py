"""A client with one kept connection to a local port: it sends each line that it is told, and says what came back."""
import socket
import sys

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=15)
answers = connection.makefile("r")
for line in sys.stdin:
    connection.sendall(line.encode())
    print(answers.readline().strip(), flush=True)
