import { Effect } from "effect"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A folder of its own, until the scope ends. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "kosmonaut-test-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)
