"""A pool of one connection by psycopg: runs each query that it is told, and says its value. A connection that fails is dropped,
and the next query opens another one, as pools do."""
import sys

sys.path.insert(0, "/var/task/python")
import psycopg

connection = None
for line in sys.stdin:
    try:
        if connection is None:
            connection = psycopg.connect(sys.argv[1], autocommit=True)
        print(connection.execute(line).fetchone()[0], flush=True)
    except psycopg.Error as error:
        print("failed:", " ".join(str(error).split()), flush=True)
        if connection is not None:
            connection.close()
            connection = None
