import * as path from 'path';
import * as binaries from '../src/binaries';

/** The folder of the zips that stand in for the real ones. */
export const FIXTURE_ASSETS = path.join(__dirname, 'fixtures', 'assets');

const real = binaries.assetPath;

/** Makes the constructs take tiny zips, so that their tests need neither cargo nor Go. To be called before a stack is made. */
export function useFixtureZips(assets = FIXTURE_ASSETS): void {
  jest.spyOn(binaries, 'assetPath').mockImplementation((binary, architecture) => real(binary, architecture, assets));
}
