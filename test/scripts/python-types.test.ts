import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { testWithPlainPython } from '../prerequisite';

const test = testWithPlainPython();

const SCRIPT = path.join(__dirname, '..', '..', 'scripts', 'python_types.py');

/** Packs a module as a wheel and as a source distribution. */
const PACK = `
import io, sys, tarfile, zipfile
name, text = "tailscale_lambda_proxy/__init__.py", sys.argv[1]
with zipfile.ZipFile("a.whl", "w") as wheel:
    wheel.writestr(name, text)
    wheel.writestr("a.dist-info/RECORD", name + ",sha256=old,1\\na.dist-info/RECORD,,\\n")
with tarfile.open("a.tar.gz", "w:gz") as sdist:
    member = tarfile.TarInfo("a/src/" + name)
    member.size = len(text)
    sdist.addfile(member, io.BytesIO(text.encode()))
`;

/** Shows what is in them, and whether the wheel's record is right. */
const SHOW = `
import base64, hashlib, json, tarfile, zipfile
wheel = zipfile.ZipFile("a.whl")
module = wheel.read("tailscale_lambda_proxy/__init__.py")
digest = base64.urlsafe_b64encode(hashlib.sha256(module).digest()).rstrip(b"=").decode()
record = wheel.read("a.dist-info/RECORD").decode()
source = tarfile.open("a.tar.gz").extractfile("a/src/tailscale_lambda_proxy/__init__.py").read()
print(json.dumps([module.decode(), source.decode(), f",sha256={digest},{len(module)}\\n" in record]))
`;

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'python-types-'));
});

function python(...args: string[]) {
  return spawnSync('python3', args, { cwd: folder, encoding: 'utf8' });
}

test('types that later CDKs have moved give way to those that are where they were', () => {
  python('-c', PACK, 'a: "_aws_cdk_aws_lambda_ce.ICodeSigningConfigRef"; b: "_aws_cdk_aws_kms_ce.IKeyRef"; c: "_aws_cdk_aws_kms_ce.IKeyReference"');

  expect(python(SCRIPT, '.')).toMatchObject({ status: 0, stderr: '' });

  const module = 'a: "_aws_cdk_aws_lambda_ce.ICodeSigningConfig"; b: "_aws_cdk_aws_kms_ce.IKey"; c: "_aws_cdk_aws_kms_ce.IKeyReference"';
  expect(JSON.parse(python('-c', SHOW).stdout)).toEqual([module, module, true]);
});

test('a package that has them no more is told, and so is a folder without packages', () => {
  python('-c', PACK, 'a: "_aws_cdk_aws_kms_ce.IKeyRef"');

  expect(python(SCRIPT, '.')).toMatchObject({ status: 1, stderr: expect.stringContaining('ICodeSigningConfigRef') });
  expect(python(SCRIPT, os.devNull)).toMatchObject({ status: 1, stderr: expect.stringContaining('holds no wheel') });
});
