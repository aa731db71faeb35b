"""A pool of one connection by libpq, which psycopg and many others wrap: runs each query that it is told, and says its value.
A connection that fails is dropped, and the next query opens another one, as pools do."""
import ctypes
import sys

libpq = ctypes.CDLL("libpq.so.5")
for name in ("PQconnectdb", "PQexec"):
    getattr(libpq, name).restype = ctypes.c_void_p
for name in ("PQgetvalue", "PQerrorMessage"):
    getattr(libpq, name).restype = ctypes.c_char_p
OK, TUPLES_OK = 0, 2

connection = None
for line in sys.stdin:
    if connection is None:
        connection = ctypes.c_void_p(libpq.PQconnectdb(sys.argv[1].encode()))
    failed = libpq.PQstatus(connection) != OK
    if not failed:
        result = ctypes.c_void_p(libpq.PQexec(connection, line.encode()))
        failed = libpq.PQresultStatus(result) != TUPLES_OK
    if failed:
        print("failed:", " ".join(libpq.PQerrorMessage(connection).decode().split()), flush=True)
        libpq.PQfinish(connection)
        connection = None
    else:
        print(libpq.PQgetvalue(result, 0, 0).decode(), flush=True)
        libpq.PQclear(result)
