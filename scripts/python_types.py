"""Gives the packed Python packages types that every CDK from the lowest supported one on has.

jsii writes the types of inherited props as the lowest CDK has them, and Python looks them up when an object is made. Two
of them were moved to `aws_cdk.interfaces` later: without this, the options of a function fail with a newer CDK, and jsii
lets no struct declare an inherited prop again. What is named instead is what users have, and is where it was.

`python3 scripts/python_types.py FOLDER`
"""

import base64
import hashlib
import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path

MODULE = "tailscale_lambda_proxy/__init__.py"
LASTING = {
    rb"(_aws_cdk_aws_lambda_\w+\.)ICodeSigningConfigRef\b": rb"\1ICodeSigningConfig",
    rb"(_aws_cdk_aws_kms_\w+\.)IKeyRef\b": rb"\1IKey",
}


def mended(source: bytes, where: Path) -> bytes:
    for moved, lasting in LASTING.items():
        source, count = re.subn(moved, lasting, source)
        if count == 0:
            raise SystemExit(f"{where} has no type {moved.decode()} any more: take it out of scripts/python_types.py")
    return source


def record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def mend_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            if info.filename == MODULE:
                content = mended(content, wheel)
                line = record_line(MODULE, content)
            elif info.filename.endswith(".dist-info/RECORD"):
                # The last entry, by the format.
                content = re.sub(rf"^{re.escape(MODULE)},.*$", line, content.decode(), flags=re.MULTILINE).encode()
            archive.writestr(info, content)


def mend_source(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        entries = [(member, file.read() if (file := archive.extractfile(member)) else None) for member in archive]
    with tarfile.open(sdist, "w:gz") as archive:
        for member, content in entries:
            if content is not None and member.name.endswith(f"/src/{MODULE}"):
                content = mended(content, sdist)
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if content is not None else None)


def main() -> None:
    folder = Path(sys.argv[1])
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if not wheels or not sources:
        raise SystemExit(f"{folder} holds no wheel, or no source distribution")
    for wheel in wheels:
        mend_wheel(wheel)
    for source in sources:
        mend_source(source)


if __name__ == "__main__":
    main()
