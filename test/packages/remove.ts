import * as fs from 'fs';
import { applications } from './folders';

/** Removes the installed applications, and nothing else. */
export default function remove(): void {
  fs.rmSync(applications(), { recursive: true });
}
