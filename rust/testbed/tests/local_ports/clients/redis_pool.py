"""redis-py with its own pool, at the local port that it is told: runs each command that it is told, and says its answer."""
import sys

sys.path.insert(0, "/var/task/python")
import redis

client = redis.Redis(host="127.0.0.1", port=int(sys.argv[1]), socket_timeout=15)
for line in sys.stdin:
    try:
        print(client.execute_command(*line.split()), flush=True)
    except redis.RedisError as error:
        print("failed:", " ".join(str(error).split()), flush=True)
