"""A pool of one connection by psycopg, to the local port that it is told: runs each query that it is told, and says its value. With
the server's name and a file of certificates it checks that name by TLS. A connection that fails is dropped, and the next query
opens another one, as pools do."""
import sys

sys.path.insert(0, "/var/task/python")
import psycopg


def connect(port, name=None, ca=None):
    tls = {"sslmode": "disable"} if name is None else {"host": name, "sslmode": "verify-full", "sslrootcert": ca}
    return psycopg.connect(hostaddr="127.0.0.1", port=port, user="app", dbname="postgres", autocommit=True, **tls)


connection = None
for line in sys.stdin:
    try:
        if connection is None:
            connection = connect(*sys.argv[1:])
        print(connection.execute(line).fetchone()[0], flush=True)
    except psycopg.Error as error:
        print("failed:", " ".join(str(error).split()), flush=True)
        if connection is not None:
            connection.close()
            connection = None
