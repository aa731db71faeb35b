"""A pool of one connection by PyMySQL, to the local port that it is told: runs each statement that it is told, and says its
value. With the server's name and a file of certificates it checks that name by TLS: host is what is checked, and the socket is
one that it opened itself. A connection that fails is dropped, and the next statement opens another one, as pools do."""
import socket
import sys

sys.path.insert(0, "/var/task/python")
import pymysql

TIMEOUT = 15


def connect(port, name=None, ca=None):
    if name is None:
        return pymysql.connect(host="127.0.0.1", port=int(port), user="app", read_timeout=TIMEOUT)
    verified = {"ssl_ca": ca, "ssl_verify_cert": True, "ssl_verify_identity": True}
    connection = pymysql.connect(host=name, user="app", **verified, read_timeout=TIMEOUT, defer_connect=True)
    connection.connect(socket.create_connection(("127.0.0.1", int(port)), timeout=TIMEOUT))
    return connection


pooled = None
for line in sys.stdin:
    try:
        if pooled is None:
            pooled = connect(*sys.argv[1:])
        with pooled.cursor() as cursor:
            cursor.execute(line.strip())
            print(cursor.fetchone()[0], flush=True)
    except (pymysql.Error, OSError) as error:
        print("failed:", " ".join(str(error).split()), flush=True)
        # PyMySQL closes what it finds broken, and refuses to close it twice.
        if pooled is not None and pooled.open:
            pooled.close()
        pooled = None
