'use strict';
// Puts what a release carries beside the packages into a folder: the zips, named by their architecture, a SAM template and a
// Terraform module that use them, an OCI image of what the layer holds, the callers' program for Linux, their licenses, a
// software bill of materials (CycloneDX), and checksums of all of it. The same zips make the same files.
// `node scripts/release-files.js FOLDER`

const { createHash } = require('crypto');
const fs = require('fs');
const path = require('path');
const { ARCHITECTURES } = require('./architecture');
const { writeImage } = require('./build-image');
const { ASSETS, contents } = require('./build-layers');
const { PROGRAM, buildProgram } = require('./build-rust');
const { FILE: LICENSES, components } = require('./collect-licences');
const { runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
/** What "npx projen release:files" installs there. */
const LIBRARIES = path.join(ROOT, '.sbom', 'package.json');
const SBOM = 'sbom.cdx.json';
const SUMS = 'SHA256SUMS';
const IMAGE = 'extension-image.tar';
/** For those without the CDK: each names zips that lie beside it. */
const TEMPLATES = path.join(ROOT, 'templates');

/**
 * The lines of `sha256sum` for all files in a folder.
 * @param {string} folder
 */
function checksums(folder) {
  const sum = (/** @type {string} */ name) => createHash('sha256').update(fs.readFileSync(path.join(folder, name))).digest('hex');
  return fs.readdirSync(folder).filter((name) => name !== SUMS).sort().map((name) => `${sum(name)}  ${name}\n`).join('');
}

/**
 * The zips of a folder, by the name that each gets: `extension-arm64.zip`.
 * @param {string} assets
 * @returns {[string, string][]} name -> zip
 */
function namedZips(assets) {
  return Object.keys(ARCHITECTURES).flatMap((architecture) => Object.keys(contents(architecture)).map((zip) =>
    /** @type {[string, string]} */ ([zip.replace('.zip', `-${architecture}.zip`), path.join(assets, architecture, zip)])));
}

/**
 * A software bill of materials as CycloneDX 1.6, validated against its schema.
 * @param {import('./licence-texts').Component[]} parts what is in the zips
 * @param {string} version of what is released
 * @param {(name: string) => any} load finds the libraries
 * @returns {Promise<string>}
 */
async function billOfMaterials(parts, version, load) {
  const { Enums, Models, Serialize, Spec, Validation } = load('@cyclonedx/cyclonedx-library');
  const { PackageURL } = load('packageurl-js');
  const main = new Models.Component(Enums.ComponentType.Application, 'tailscale-lambda-proxy', { version, bomRef: 'tailscale-lambda-proxy' });
  const bom = new Models.Bom({ metadata: new Models.Metadata({ component: main }) });
  // A Go module comes once for each of its packages.
  for (const [purl, expression] of new Map(parts.map((part) => [part.purl, part.expression]))) {
    if (purl) {
      const { namespace, name, version: itsVersion } = PackageURL.fromString(purl);
      const licenses = new Models.LicenseRepository(expression ? [new Models.LicenseExpression(expression.replaceAll('/', ' OR '))] : []);
      const part = new Models.Component(Enums.ComponentType.Library, name, {
        group: namespace ?? undefined, version: itsVersion ?? undefined, purl, bomRef: purl, licenses,
      });
      bom.components.add(part);
      main.dependencies.add(part.bomRef);
    }
  }
  const text = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6)).serialize(bom, { sortLists: true, space: 2 });
  const problems = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text);
  if (problems !== null) {
    throw new Error(`the bill of materials is not valid: ${JSON.stringify(problems)}`);
  }
  return `${text}\n`;
}

async function main() {
  const folder = path.resolve(process.argv[2] ?? 'dist/release-files');
  const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const released = path.join(ROOT, 'dist', 'version.txt');
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  namedZips(ASSETS).forEach(([name, zip]) => fs.copyFileSync(zip, path.join(folder, name)));
  // The release workflow adds those for macOS.
  for (const architecture of Object.keys(ARCHITECTURES)) {
    fs.copyFileSync(buildProgram(architecture), path.join(folder, `${PROGRAM}-linux-${architecture}`));
  }
  fs.cpSync(TEMPLATES, folder, { recursive: true });
  fs.copyFileSync(LICENSES, path.join(folder, path.basename(LICENSES)));
  const release = fs.existsSync(released) ? fs.readFileSync(released, 'utf8').trim() : version;
  const layers = Object.fromEntries(Object.keys(ARCHITECTURES).map((name) => [name, path.join(ASSETS, name, 'extension.zip')]));
  writeImage(layers, release, path.join(folder, IMAGE));
  const sbom = await billOfMaterials(components(), release, require('module').createRequire(LIBRARIES));
  fs.writeFileSync(path.join(folder, SBOM), sbom);
  fs.writeFileSync(path.join(folder, SUMS), checksums(folder));
  console.log(`${path.relative(ROOT, folder)}: ${fs.readdirSync(folder).join(', ')}`);
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { checksums, namedZips };
