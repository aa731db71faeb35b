

# What follows is put behind examples/python/functions/tailnet.py.
import json

ECHO = "/anything"


def handler(paths, context):
    return {path: ask(path) for path in paths}


def ask(path):
    try:
        answer = request(os.environ["TARGET_HOST"], int(os.environ["TARGET_PORT"]), "GET", path)
    except TailnetError as error:
        return str(error)
    arrived = {307: "redirected"}.get(answer.status)
    if answer.status == 200:
        url = json.loads(answer.data)["url"]
        arrived = url[url.index(ECHO) + len(ECHO) :]
    return {"status": answer.status, "arrived": arrived}
