/**
 * A folder for all tests of a run, until it has ended. Packages are found from there.
 */
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Called by vitest before the first test; what it returns is called after the last one. */
export const setup = () => {
  const folder = Fs.mkdtempSync(join(tmpdir(), "kosmonaut-tests-"))
  Fs.symlinkSync(Fs.realpathSync("node_modules"), join(folder, "node_modules"))
  process.env["KOSMONAUT_TEST_FOLDER"] = folder
  return () => Fs.rmSync(folder, { recursive: true, force: true })
}
