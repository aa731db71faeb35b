import sys

sys.path.insert(0, "/var/task/python")
import httpx

response = httpx.get(sys.argv[1], timeout=20)
print(response.status_code, response.text, end="")
