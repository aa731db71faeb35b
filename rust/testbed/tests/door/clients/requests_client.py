import sys

sys.path.insert(0, "/var/task/python")
import requests

response = requests.get(sys.argv[1], timeout=20)
print(response.status_code, response.text, end="")
