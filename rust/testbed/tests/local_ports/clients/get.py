"""Gets a URL by the client that it is told: requests or httpx, whose calls are alike."""
import importlib
import sys

sys.path.insert(0, "/var/task/python")
client = importlib.import_module(sys.argv[1])
response = client.get(sys.argv[2], timeout=20)
print(response.status_code, response.text, end="")
